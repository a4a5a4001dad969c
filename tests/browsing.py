"""Pages in a headless Chromium."""

import shutil

import pytest

try:
    from selenium import webdriver
    from selenium.webdriver import ActionChains, ChromeOptions, ChromeService, Keys
    from selenium.webdriver.common.by import By
except ImportError:
    webdriver = Keys = None

NEEDS = "needs Chromium: apt install chromium chromium-driver, and pip install selenium"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One headless Chromium for all tests."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (webdriver and chromium and driver):
        pytest.skip(NEEDS)
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=ChromeService(driver))
    browser.get("about:blank")  # the start page loads much, and would be in the log
    yield browser
    browser.quit()


class Page:
    """A page in the browser, as its user sees it."""

    def __init__(self, browser, path):
        self.browser, self.path = browser, path

    def load(self, anchor="", width=1200, height=900, dark=False):
        """Open the page anew, in a window of this size in pixels."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        if anchor:
            self.browser.get("about:blank")  # or a new anchor alone would load nothing
        for log in ("browser", "performance"):
            self.browser.get_log(log)
        self.browser.get(self.path.as_uri() + anchor)
        return self

    def script(self, code, *arguments):
        return self.browser.execute_script(code, *arguments)

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.find(selector).text

    def press(self, *keys):
        ActionChains(self.browser, duration=0).send_keys(*keys).perform()

    def actions(self):
        return ActionChains(self.browser, duration=0)

    def messages(self):
        return [entry["message"] for entry in self.browser.get_log("browser")]
