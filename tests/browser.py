"""A headless Chromium for tests of pages that minigrad writes: ``from tests.browser import browser  # noqa: F401``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Browser:
    """A browser that opens files, and tells of every error on the console and every address that was asked for."""

    def __init__(self, chromium: str, driver: str) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1440,900"):
            options.add_argument(f"--{argument}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.media(dark=False)

    def open(self, path: Path, width: int = 1440, height: int = 900) -> None:
        """Load a file at a window size; forget what was logged before."""
        sizes = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(path.as_uri())

    def media(self, *, dark: bool) -> None:
        """The system's colours; motion is always reduced."""
        wanted = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression, or of a function body that returns one."""
        return self.driver.execute_script(script if "return " in script or ";" in script else f"return {script}", *arguments)

    def all(self, selector: str) -> list[Any]:
        """The elements that match."""
        return list(self.driver.find_elements("css selector", selector))

    def text(self, selector: str) -> str:
        """The text of an element, as it is shown."""
        return str(self.driver.find_element("css selector", selector).text)

    def click(self, selector: str) -> None:
        """Click an element as a user would: it must be visible, and nothing may lie over it."""
        self.driver.find_element("css selector", selector).click()

    def press(self, *keys: str, on: str = "body") -> None:
        """Type keys, such as " " or Keys.ARROW_RIGHT, into an element."""
        for key in keys:
            self.driver.find_element("css selector", on).send_keys(key)

    def errors(self) -> list[str]:
        """What the console said since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def asked(self) -> list[str]:
        """Every address that was asked for since the page was opened."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def violations(self) -> list[str]:
        """What axe-core finds that keeps people out: serious and critical violations."""
        import axe_core_python

        source = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
        self.driver.execute_script(source)
        found = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        bad = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
        return [f"{v['id']}: {v['help']}: {[n['html'][:200] for n in v['nodes'][:3]]}" for v in bad]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module."""
    for package in ("selenium", "axe_core_python"):
        pytest.importorskip(package, reason=f"tests of pages need {package}: pip install 'minigrad[dev]'")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip(f"tests of pages need {'Chromium' if chromium is None else 'chromedriver'} on the PATH")
    found = Browser(chromium, driver)
    yield found
    found.driver.quit()
