"""The browser, for the tests of pages."""

from browsing import browser

__all__ = ["browser"]
