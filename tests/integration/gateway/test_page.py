"""The page in a real browser: sign in, create a task, watch it complete, read the result."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from eth_account import Account
from eth_account.messages import encode_defunct
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from ogpu_provider.devnet import accounts
from tests.integration.gateway.world import World, running
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
T = TypeVar("T")
WALLET = """
window.ethereum = { request: ({ method, params }) => new Promise((done) => {
  window.asked = { method, params, done };
}) };
"""
"""A wallet whose owner is the test: what the page asks of it waits in `window.asked`."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("page")) as world:
        yield world


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for word in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1000,1100",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


async def act(work: Callable[[], T]) -> T:
    """The driver blocks; the gateway's tests do not."""
    return await asyncio.to_thread(work)


async def shows(browser: Chrome, text: str) -> None:
    async def look() -> bool:
        script = "return document.querySelector('main')?.innerText ?? ''"  # an element may go while it is asked
        return text in await act(lambda: str(browser.execute_script(script)))

    await until(look, 120, f"the page to show {text!r}")


def press(browser: Chrome, name: str) -> None:
    browser.find_element(By.XPATH, f"//button[normalize-space()='{name}']").click()


async def test_a_task_from_sign_in_to_its_result(world: World, browser: Chrome, tmp_path: Path) -> None:
    token = world.http.headers["Authorization"].removeprefix("Bearer ")

    def sign_in(key: str) -> None:
        browser.get(world.base)
        browser.find_element(By.NAME, "key").send_keys(key)
        press(browser, "Sign in")

    await act(lambda: sign_in("ogpu_live_wrong"))
    await shows(browser, "This key is not known here")
    await act(lambda: sign_in(token))
    await shows(browser, "Your tasks")

    def create(data: str) -> None:
        form = browser.find_element(By.TAG_NAME, "details")
        if form.get_attribute("open") is None:
            form.find_element(By.TAG_NAME, "summary").click()
        Select(browser.find_element(By.NAME, "model_id")).select_by_value("multiply")
        area = browser.find_element(By.NAME, "input_data")
        area.clear()
        area.send_keys(data)
        press(browser, "Create")

    await act(lambda: create("6 times 7"))
    await shows(browser, "The input must be a JSON object")
    await act(lambda: create('{"a": 6, "b": 7}'))
    await shows(browser, "CREATED")
    task_id = browser.current_url.rpartition("/")[2]
    await world.answer(await world.published(task_id), {"result": 42, "text": "<b>six times seven</b>"})
    await shows(browser, "COMPLETED")  # without a reload by hand: the page follows the events
    await shows(browser, '"result": 42')
    timeline = await act(lambda: browser.find_element(By.ID, "timeline").text)
    assert [line.rpartition(" ")[2] for line in timeline.splitlines()][-1] == "completed"
    assert await act(lambda: browser.find_elements(By.TAG_NAME, "b")) == []  # a result is text, never markup
    await act(lambda: browser.save_screenshot(str(tmp_path / "task.png")))
    assert (tmp_path / "task.png").stat().st_size > 10_000
    await act(lambda: press(browser, "Sign out"))
    await shows(browser, "Sign in")
    await act(lambda: browser.get(f"{world.base}/tasks/{task_id}"))
    await shows(browser, "Sign in")
    said: list[dict[str, Any]] = await act(lambda: browser.get_log("browser"))  # type: ignore[no-untyped-call]
    assert [
        line["message"] for line in said if "Content Security" in line["message"] or "Uncaught" in line["message"]
    ] == []


async def test_a_wallet_signs_in_on_the_page(world: World, browser: Chrome) -> None:
    wallet = accounts.role("master3")

    async def asked(method: str) -> Any:
        async def look() -> Any:
            script = "return window.asked && window.asked.method === arguments[0] ? window.asked : null"
            return await act(lambda: browser.execute_script(script, method))

        return await until(look, 120, f"the page to ask the wallet for {method}")

    def answer(value: object) -> None:
        browser.execute_script("const done = window.asked.done; window.asked = null; done(arguments[0])", value)

    await act(lambda: browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WALLET}) and None)
    await act(lambda: browser.get(world.base))
    await act(lambda: press(browser, "Sign in with a wallet"))
    await asked("eth_requestAccounts")
    await act(lambda: answer([wallet.address.lower()]))
    message = bytes.fromhex((await asked("personal_sign"))["params"][0][2:]).decode()
    assert wallet.address in message
    proof = Account.sign_message(encode_defunct(text=message), wallet.private_key).signature.to_0x_hex()
    await act(lambda: answer(proof))
    await shows(browser, "Your tasks")
    assert wallet.address in await act(lambda: browser.find_element(By.TAG_NAME, "header").text)
