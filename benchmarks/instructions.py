def main(update): return 0
