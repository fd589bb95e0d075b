"""A Hub that is dead, silent, broken or hostile: the catalog answers and says so, or one sentence and exit code 4."""

import time

import pytest

from modelpick.catalog import hub as live
from modelpick.catalog import index, lookup
from modelpick.catalog.hub_client import PATIENCE, Patience, endpoint_in_force
from modelpick.catalog.model import Model
from modelpick.errors import RemoteError, UsageError
from tests.catalog.test_hub import error, look, one
from tests.stand_ins.hub import Hub, Trouble

KNOWN = "google/flan-t5-base"


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("500", "error 500"),
        ("403", "another server answered"),
        ("404", "another server answered"),
        ("html", "a web page"),
        ("truncated", "was cut off"),
        ("silence", "no answer in time"),
        ("drip", "no answer in time"),
        ("closed", "was cut off"),
        ("429", "429"),
    ],
)
def test_a_hub_in_trouble_leaves_the_catalog_and_says_so(hub: Hub, trouble: Trouble, says: str) -> None:
    hub.add(KNOWN, card="license: cc-by-nc-4.0")
    hub.fail(trouble)
    model = one(KNOWN, patience=1.5)
    assert model.origin == "catalog"
    assert model.license == "apache-2.0"
    assert model.notes[0].startswith("the Hub did not answer")
    assert says in model.notes[0]
    unknown = error("org/name", patience=1.5)
    assert isinstance(unknown, RemoteError)
    assert (unknown.code, unknown.exit_code) == ("model_unknown", 4)
    assert says in unknown.message


NO_ADDRESSES = (
    "nonsense", "http://", "ftp://x", "http://user:s3cret@[bad", "http://h:99999999", "http://h:x", "http://h:0",
    "http://user:s3cret@", "//user:s3cret@hub", "http://a b", "https://hub?token=s3cret", "https:/x",
    "file:///etc/passwd",
)  # fmt: skip


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://[::1]:9", "http://u:s3cret@127.0.0.1:9"])
def test_an_endpoint_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    note = one(KNOWN).notes[0]
    assert note.startswith("the Hub did not answer")
    unknown = error("org/name")
    assert unknown.exit_code == 4
    assert "s3cret" not in f"{note} {unknown.message} {unknown.fix}"


@pytest.mark.parametrize("endpoint", NO_ADDRESSES)
def test_nothing_is_fetched_from_what_is_no_address(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(UsageError) as refused:
        lookup.download("org/name")
    assert refused.value.code == "bad_endpoint"
    assert "s3cret" not in refused.value.message


def test_an_empty_endpoint_is_the_public_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", " ")
    assert endpoint_in_force() == "https://huggingface.co"


def test_an_endpoint_with_credentials_is_asked_and_not_printed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/name", card="license: mit")
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("//", "//user:s3cret@"))
    assert one("org/name").license == "mit"
    assert "s3cret" not in str(error("org/absent").as_json())


@pytest.mark.parametrize("endpoint", NO_ADDRESSES)
def test_an_endpoint_that_is_no_address_is_said_at_once(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """A dead Hub answers from the catalog; a misspelt one is the user's mistake, and is not hidden by that."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(UsageError, match="HF_ENDPOINT is not a web address") as refused:
        one(KNOWN)
    assert "s3cret" not in refused.value.message


@pytest.mark.parametrize("trouble", ["500", "closed", "429"])
def test_a_passing_trouble_is_waited_out(hub: Hub, trouble: Trouble) -> None:
    hub.add("org/name", card="license: mit")
    hub.fail(trouble, times=1)
    assert one("org/name").license == "mit"


def test_a_stated_pause_longer_than_the_patience_is_not_begun(hub: Hub) -> None:
    hub.fail("429", wait=300)
    assert "asks to wait 300 s" in one(KNOWN, patience=15).notes[0]
    assert len(hub.requests.paths) == 1


def test_terms_that_cannot_be_read_are_no_terms_that_are_absent(hub: Hub) -> None:
    """A listed LICENSE that the Hub fails to give must not leave the tag alone to decide."""
    hub.add("org/name", card="license: mit", files={"LICENSE": "All rights reserved."})
    hub.fail("500", "LICENSE")
    assert error("org/name", patience=1.5).code == "model_unknown"


def test_a_listed_file_that_is_gone_is_noted_and_not_remembered(hub: Hub) -> None:
    hub.add("org/name", card="license: mit", files={"LICENSE": "terms"})
    kept = hub.repositories["org/name"].files.pop("LICENSE")
    assert any("LICENSE is listed" in note for note in one("org/name").notes)
    hub.repositories["org/name"].files["LICENSE"] = kept
    assert one("org/name").texts["LICENSE"] == "terms"


def test_a_proxy_that_forbids_is_not_the_hub_that_knows_nothing(hub: Hub) -> None:
    """A company's proxy answers 403 or 404 with a page; the Hub names a code or sends JSON."""
    hub.add(KNOWN, card="license: apache-2.0")
    hub.fail("403")
    assert one(KNOWN).origin == "catalog"
    hub.heal()
    assert one(KNOWN).origin == "hub"


def test_one_lookup_waits_fifteen_seconds_in_all(hub: Hub) -> None:
    assert PATIENCE == 15
    hub.add("org/name", card="license: mit", base_model=["org/p1", "org/p2", "org/p3"])
    hub.fail("silence", "/api/models/org/p")
    before = time.monotonic()
    found = look("org/name", patience=1)
    assert isinstance(found.results[0], Model)
    assert [found.find(f"org/p{i}") for i in (1, 2, 3)] == [None] * 3
    assert time.monotonic() - before < 8, "three silent parents share one patience of a second"


def test_bulk_work_goes_on_as_long_as_it_advances() -> None:
    patience = Patience(bulk=True, seconds=0.3)
    for _ in range(4):
        assert patience.pause(0.15)
        patience.answered()
    assert patience.left() > 0
    assert not Patience(bulk=True, seconds=0.3).pause(60)
    stated = Patience(bulk=True, longest_pause=1, seconds=0.1)
    assert stated.pause(0.2), "a pause the Hub states is kept"
    assert not stated.pause(0.2), "but not a second one without an answer in between"
    stated.answered()
    assert stated.pause(0.2)


def test_a_batch_survives_models_that_fail(hub: Hub) -> None:
    for i in range(8):
        hub.add(f"org/m{i}", card="license: mit")
    hub.fail("500", "m3|m5")
    results = look(*(f"org/m{i}" for i in range(8)), patience=3).results
    assert [isinstance(result, Model) for result in results] == [i not in (3, 5) for i in range(8)]


def test_nobodys_repository_is_not_told_from_a_private_one(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = error("org/absent")
    assert (missing.code, missing.exit_code) == ("model_not_found", 4)
    assert "HF_TOKEN" in missing.fix
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert "HF_TOKEN" not in error("org/absent").fix
    assert "google/flan-t5-base" in error("google/flan-t5-bas").fix


@pytest.mark.parametrize(
    "id",
    ["", "/", "a/b/c", "../x", "a/../b", "a//b", "org/na me", "org/na\nme", "org/näme", "org/name?x=1", "org/%2e%2e",
     "-a/b", "org/name@", "org/name@../x", "org/name@a b", "x" * 300, "a--b/c",
     "https://huggingface.co/org/name", "org/name#main"],
)  # fmt: skip
def test_hostile_ids_are_refused_without_a_call(hub: Hub, id: str) -> None:
    (result,) = look(id).results
    assert isinstance(result, UsageError)
    assert result.code == "bad_model_id"
    assert len(result.message) < 200
    assert hub.requests.paths == []


def test_a_token_that_no_header_can_carry_is_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_é")
    assert "token" in one(KNOWN).notes[0]


@pytest.mark.parametrize(
    "record",
    [
        {"cardData": 3}, {"cardData": ["license"]}, {"tags": "x"}, {"tags": [None, {}]},
        {"siblings": [None, {"rfilename": 3}]}, {"gated": "perhaps"}, {"downloads": "many"}, {"createdAt": 7},
        {"safetensors": {"parameters": {"BF16": "x"}}}, {"safetensors": 3}, {"sha": 3}, {"sha": "../../x"},
        {"private": "x"},
        {"baseModels": {"models": 3, "relation": []}},
    ],
)  # fmt: skip
def test_records_of_any_shape_are_survived(hub: Hub, record: dict[str, object]) -> None:
    hub.add("org/name", card="license: mit", **record)  # type: ignore[arg-type]
    result = look("org/name", patience=2).results[0]
    assert isinstance(result, Model)


def test_an_answer_that_names_another_kind_of_thing_is_not_believed(hub: Hub) -> None:
    hub.add("org/name", card="license: mit", id="../../evil")
    assert error("org/name", patience=2).code == "model_unknown"


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"config.json": "{"}, "config.json"),
        ({"config.json": '{"a": NaN}'}, "NaN"),
        ({"LICENSE": b"\x00\x01"}, "LICENSE: it is not text"),
        ({"LICENSE": "café".encode("latin-1")}, "Windows-1252"),
        ({"m.gguf": b"junk"}, "GGUF"),
        ({"model.safetensors": b"\xff" * 64}, "not counted"),
        ({f"LICENSE-{i}": "x" for i in range(50)}, "one of 50 files of terms"),
    ],
)
def test_damaged_files_are_told(hub: Hub, files: dict[str, str | bytes], word: str) -> None:
    hub.add("org/name", card="license: mit", files=files)
    found = one("org/name")
    assert any(word in note for note in (*found.notes, *(f"{each.name}: {each.why}" for each in found.unread)))


def test_a_card_the_hub_cannot_parse_grants_nothing(hub: Hub) -> None:
    for number, readme in enumerate(
        ("\ufeff---\nlicense: mit\n---\n", "Hi\n---\nlicense: mit\n---\n", "---\nlicense: mit\n\tx: 1\n---\n")
    ):
        hub.add(f"org/m{number}", readme=readme)
        assert one(f"org/m{number}").license is None


def test_split_revision_tells_id_and_revision_apart() -> None:
    assert live.split_revision("org/name@v1") == ("org/name", "v1")
    assert live.split_revision(" gpt2 ") == ("gpt2", None)
    assert index.load().find("gpt2") is not None


def test_a_redirect_of_the_api_to_another_host_is_not_believed(hub: Hub) -> None:
    with Hub() as other:
        other.add("org/name", card="license: mit")
        hub.add("org/name", card="license: cc-by-nc-4.0")
        hub.api_elsewhere = other.url
        assert "another host" in error("org/name").message
        assert "another host" in one(KNOWN).notes[0]


def test_weights_are_not_fetched_by_the_word_of_another_host_or_of_another_commit(hub: Hub) -> None:
    with Hub() as other:
        other.add("org/name", card="license: mit", config={"model_type": "llama"})
        sha = hub.add("org/name", card="license: cc-by-nc-4.0", config={"model_type": "llama"})
        hub.api_elsewhere = other.url
        with pytest.raises(RemoteError, match="another host"):
            lookup.download("org/name")
        hub.api_elsewhere = None
        hub.repositories["org/name"].record["sha"] = "f" * 40
        with pytest.raises(RemoteError, match="another commit"):
            lookup.download("org/name", sha)


def test_a_redirect_on_the_hub_itself_is_followed(hub: Hub) -> None:
    hub.add("org/name", card="license: mit")
    hub.rename("org/old", "org/name")
    assert one("org/old").id == "org/name"


def test_files_of_another_commit_are_not_believed(hub: Hub) -> None:
    hub.add("org/name", card="license: mit")
    hub.commit_of_files = "f" * 40
    assert "another commit" in error("org/name").message


def test_a_record_of_another_commit_is_not_believed(hub: Hub) -> None:
    sha = hub.add("org/name", card="license: mit", revision=None)
    assert one(f"org/name@{sha}").revision == sha
    hub.repositories["org/name"].record["sha"] = "f" * 40
    assert "another commit" in error(f"org/name@{sha}").message
