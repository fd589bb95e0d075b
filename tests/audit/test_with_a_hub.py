"""The audit against a live Hub: models no catalog knows, pinned revisions, renamed repositories, a Hub that is gone."""

from tests.audit.conftest import Tree
from tests.cli.conftest import Run
from tests.stand_ins.hub import Hub


def _use(*lines: str) -> dict[str, str]:
    return {"a.py": "".join(f"A.from_pretrained({line})\n" for line in lines)}


def test_each_model_is_judged_at_its_revision(modelpick: Run, tree: Tree, hub: Hub) -> None:
    newest = hub.add("acme/new-7b", card="license: apache-2.0")
    older = hub.add("acme/new-7b", card="license: cc-by-nc-4.0", revision="v1")
    root = str(tree(_use('"acme/new-7b"', '"acme/new-7b", revision="v1"', '"acme/new-7b"')))
    answer = modelpick("audit", root, "--json")
    free, pinned = answer.json["results"]
    assert (free["revision"], free["verdict"], [place["line"] for place in free["locations"]]) == (
        newest,
        "allow",
        [1, 3],
    )
    assert (pinned["revision"], pinned["verdict"], pinned["revision_asked"]) == (older, "deny", "v1")
    assert answer.code == 1


def test_a_revision_that_the_hub_does_not_have_is_an_error(modelpick: Run, tree: Tree, hub: Hub) -> None:
    hub.add("tiiuae/falcon-7b", card="license: apache-2.0")
    answer = modelpick("audit", str(tree(_use('"tiiuae/falcon-7b", revision="no-such"'))), "--json")
    assert answer.json["results"][0]["error"]["code"] == "revision_unknown"
    assert answer.code == 4


def test_two_names_of_one_repository_are_one_model(modelpick: Run, tree: Tree, hub: Hub) -> None:
    hub.add("acme/new-7b", card="license: apache-2.0")
    hub.renames["acme/old-7b"] = "acme/new-7b"
    (result,) = modelpick("audit", str(tree(_use('"acme/new-7b"', '"acme/old-7b"'))), "--json").json["results"]
    assert [(place["line"], place["written"]) for place in result["locations"]] == [
        (1, "acme/new-7b"),
        (2, "acme/old-7b"),
    ]


def test_without_a_hub_the_catalog_answers_and_a_pinned_revision_is_reviewed(
    modelpick: Run, tree: Tree, hub: Hub
) -> None:
    hub.fail("closed")
    root = str(tree(_use('"tiiuae/falcon-7b"', '"tiiuae/falcon-7b", revision="v1"')))
    free, pinned = modelpick("audit", root, "--json").json["results"]
    assert (free["verdict"], pinned["verdict"]) == ("allow", "review")


def test_offline_asks_nobody(modelpick: Run, tree: Tree, hub: Hub) -> None:
    modelpick("audit", str(tree(_use('"tiiuae/falcon-7b"', '"acme/new-7b"'))), "--offline")
    assert hub.requests.paths == []
