"""One browser for all tests of this folder; they are skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser.chrome import Chrome, found


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    if found() is None:
        pytest.skip("no Chromium here")
    chrome = Chrome(tmp_path_factory.mktemp("chrome"))
    yield chrome
    chrome.close()


@pytest.fixture
def chrome(browser: Chrome) -> Chrome:
    browser.scheme("light")
    return browser
