"""The page in a real browser: Debian's chromium, driven by playwright."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import pytest
from reviewed import NASTY, Made

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def address(made: Made) -> Iterator[str]:
    """Where a server shows the detections."""
    command = [sys.executable, "-m", "audiotag", "serve", str(made.detections), "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """A browser's page, which must raise no error, and ask no other server for anything."""
    if BROWSER is None or find_spec("playwright") is None:
        if os.environ.get("AUDIOTAG_REQUIRE_SERVERS") == "1":
            pytest.fail("chromium and playwright are required, and one is not there")
        pytest.skip("chromium and playwright are not installed")
    from playwright.sync_api import sync_playwright

    asked, wrong = set(), []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        opened = browser.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True).new_page()
        opened.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
        opened.set_default_timeout(15_000)
        opened.goto(address)
        yield opened
        browser.close()
    assert asked == {urlsplit(address).netloc} and not wrong


def _row(page: Any, number: int) -> Any:
    return page.locator(f"#event-{number}")


def _until(page: Any, expression: str) -> None:
    """Wait until JavaScript says so; the page itself may not evaluate texts."""
    for _ in range(150):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"this does not become true: {expression}")


def _introduce(page: Any) -> None:
    page.locator("#name-text").fill("Ann")
    page.keyboard.press("Enter")


def test_a_detection_is_filtered_heard_and_corrected_by_keyboard(page: Any, address: str) -> None:
    page.locator("[name=label]").fill("Dog")
    with page.expect_navigation():
        page.get_by_role("button", name="Show").click()
    assert page.locator("#rows tr").count() == 2
    page.keyboard.press("j")
    with page.expect_request(re.compile("piece.wav")):
        page.keyboard.press(" ")
    page.wait_for_selector("tr.playing")
    page.keyboard.press("c")
    _introduce(page)
    _row(page, 1).locator("text=confirmed").wait_for()
    assert page.locator("tr[aria-current]").get_attribute("data-number") == "4"
    page.keyboard.press("x")
    _row(page, 4).locator("text=rejected").wait_for()
    page.reload()
    assert [_row(page, number).get_attribute("data-status") for number in (1, 4)] == ["confirmed", "rejected"]
    page.keyboard.press("z")
    _row(page, 4).locator("text=unreviewed").wait_for()
    page.goto(f"{address}?reviewed=confirmed")
    assert page.locator("#rows tr").count() == 1


def test_class_borders_and_note_are_changed(page: Any) -> None:
    _row(page, 1).get_by_role("button", name="Change").click()
    page.locator("#edit-label").fill(NASTY)
    page.locator("#edit-offset").fill("1.75")
    page.locator("#edit-note").fill("<u>far</u> away")
    page.locator("#edit").get_by_role("button", name="Save").click()
    _introduce(page)
    _row(page, 1).get_by_text("<u>far</u> away").wait_for()
    assert NASTY in _row(page, 1).inner_text() and "was Dog" in _row(page, 1).inner_text()
    assert page.locator("#rows u, #rows i, #rows b b").count() == 0
    page.reload()
    assert _row(page, 1).get_attribute("data-offset") == "1.75"
    _row(page, 1).get_by_role("button", name="Change").click()
    page.locator("#edit-history li").nth(2).wait_for()
    assert "Ann" in page.locator("#edit-history").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#edit").is_visible()


def test_events_are_moved_and_added_over_the_picture(page: Any) -> None:
    _row(page, 2).get_by_role("link").click()
    _until(page, "document.querySelectorAll('.tiles img').length")
    _until(page, "[...document.querySelectorAll('.tiles img')].every((one) => one.naturalWidth)")
    box = page.locator(".box.current")
    assert box.get_attribute("title").startswith("Bird, 2.00 – 2.50 s")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("[")
    _introduce(page)
    _row(page, 2).locator("text=confirmed").wait_for()
    assert 1.5 < float(_row(page, 2).get_attribute("data-onset")) < 2
    grip = page.locator(".grip.offset").bounding_box()
    page.mouse.move(grip["x"] + 7, grip["y"] + 50)
    page.mouse.down()
    page.mouse.move(grip["x"] + 47, grip["y"] + 50, steps=4)
    page.mouse.up()
    _until(page, "Number(document.getElementById('event-2').dataset.offset) > 2.55")
    page.locator("#whole").click()
    picture = page.locator(".scroll").bounding_box()
    page.mouse.move(picture["x"] + picture["width"] * 0.8, picture["y"] + 100)
    page.mouse.down()
    page.mouse.move(picture["x"] + picture["width"] * 0.9, picture["y"] + 100, steps=4)
    page.mouse.up()
    page.locator("#edit-label").fill("Owl")
    page.on("dialog", lambda asked: asked.accept())
    page.locator("#edit").get_by_role("button", name="Save").click()
    owl = page.locator("#rows tr", has_text="Owl")
    owl.wait_for()
    assert 4.7 < float(owl.get_attribute("data-onset")) < 4.9 < float(owl.get_attribute("data-offset")) < 5.5
    page.keyboard.press("z")
    owl.wait_for(state="detached")


def test_the_recording_is_played_with_a_line_that_follows(page: Any) -> None:
    _row(page, 1).get_by_role("link").click()
    page.wait_for_selector(".box.current")
    with page.expect_request(re.compile("/sound")):
        page.keyboard.press("p")
    _until(page, "document.querySelector('audio').currentTime > 1.1")
    page.keyboard.press("p")
    assert float(page.locator(".head").get_attribute("aria-valuenow")) > 1


@pytest.mark.parametrize("where", ["list", "recording"])
def test_a_phone_shows_all_of_it(page: Any, where: str) -> None:
    page.set_viewport_size({"width": 390, "height": 780})
    if where == "recording":
        _row(page, 1).get_by_role("link").click()
        page.wait_for_selector(".box.current")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    unnamed = (
        "[...document.querySelectorAll('button, input, select, audio, [role=slider]')].filter((one) => "
        "!one.textContent.trim() && !one.getAttribute('aria-label') && !one.labels?.length)"
    )
    assert page.evaluate(f"{unnamed}.length") == 0
