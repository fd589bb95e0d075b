"""The company: its country is a country, its products are judged, its contracts and its own rules count exactly."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from modelpick import files
from modelpick.errors import UsageError
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.judge_models import policy_in_force
from modelpick.licensing.policy import Company, NamedRule, Policy, Product, Purchase
from modelpick.licensing.policy_file import text_of
from modelpick.licensing.verdict import Verdict
from modelpick.schema import IsoDate
from tests.licensing.conftest import Judged, codes, model

ROWS = list(csv.DictReader(files.data_file("licensing", "countries.csv").read_text().splitlines()))


def refused(text: str, tmp_path: Path) -> UsageError:
    path = tmp_path / "ours.toml"
    path.write_text('name = "ours"\n' + text)
    with pytest.raises(UsageError) as caught:
        load.load_policy(path)
    assert "ours.toml" in caught.value.message
    return caught.value


def company_of(text: str, tmp_path: Path) -> Company:
    path = tmp_path / "ours.toml"
    path.write_text('name = "ours"\n' + text)
    return load.load_policy(path).company


def test_every_name_and_code_of_every_country_leads_to_its_code() -> None:
    countries = load.load_countries()
    assert len(ROWS) == 250  # ISO 3166-1 has 249 countries; and Kosovo
    for row in ROWS:
        assert countries.remedy(row["code"]) is None
        names = (row["alpha3"], row["name"], row["code"].lower(), row["name"].upper(), *row["also"].split("; "))
        for name in filter(None, names):
            assert f'"{row["code"]}"' in str(countries.remedy(name)), name


@pytest.mark.parametrize(
    ("written", "meant"),
    [("Germany", '"DE"'), ("DEU", '"DE"'), ("United Kingdom", '"GB"'), ("UK", '"GB"'), ("the EEA ", "Economic Area"),
     ("EEA", "30 countries"), ("EU", "27 countries"), ("Europe", "continent"), ("de", '"DE"'), ("Deutschland", '"DE"'),
     ("Germny", "Germany"), ("ZZ", "ISO 3166"), ("", "ISO 3166"), ("日本", '"JP"')],
)  # fmt: skip
def test_what_is_no_country_is_refused_with_what_was_meant(written: str, meant: str, tmp_path: Path) -> None:
    written = written.strip().removeprefix("the ")
    for text in (
        f'[company]\ndomicile = "{written}"',
        f'[company]\ncustomers = ["US", "{written}"]',
        f'[company.products.chat]\ncustomers = ["{written}"]',
    ):
        error = refused(text, tmp_path)
        assert meant in error.fix, text
        assert error.exit_code == 2


def test_the_settings_country_is_checked_too(tmp_path: Path) -> None:
    Path("modelpick.toml").write_text('[company]\ndomicile = "Germany"\n')
    with pytest.raises(UsageError, match=r"modelpick\.toml") as caught:
        policy_in_force()
    assert '"DE"' in caught.value.fix


def test_a_territory_that_is_none_is_refused_in_a_license(facts: LicenseFacts) -> None:
    hunyuan = facts.licenses.by_id["tencent-hunyuan-community"]
    typo = replace(hunyuan, limits=replace(hunyuan.limits, territory_excluded=("EUU",)))
    with pytest.raises(UsageError, match="EUU"):
        load._check_references(replace(facts, licenses=type(facts.licenses)([typo])))


def test_another_fact_or_rule_is_another_hash(tmp_path: Path) -> None:
    """Whatever a verdict depends on is in the policy's hash; the words around it are not."""
    texts = [
        "", '[company]\ndomicile = "DE"', "[company]\nmonthly_active_users = 3", "[company.products.chat]",
        '[company.products.chat]\ndeployment = "api"', '[company]\ncustomers = ["US"]', '[rules]\nrevocable = "deny"',
        '[[named_rules]]\nverdict = "deny"\nbecause = "x"\nmodels = ["a/*"]',
        '[[company.purchased]]\nlicensor = "A"\ncontract = "1"\nuntil = 2027-01-01\nmodels = ["a/b"]',
    ]  # fmt: skip
    hashes = []
    for text in texts:
        (tmp_path / "ours.toml").write_text('name = "ours"\n' + text)
        hashes.append(load.load_policy(tmp_path / "ours.toml").sha256)
    assert len(set(hashes)) == len(texts)
    (tmp_path / "ours.toml").write_text('# a remark\nname = "ours"\ntitle = "t"\n')
    assert load.load_policy(tmp_path / "ours.toml").sha256 == hashes[0]


def test_the_settings_facts_are_in_the_hash() -> None:
    before = policy_in_force().sha256
    Path("modelpick.toml").write_text('[company]\ndomicile = "DE"\n')
    assert policy_in_force().sha256 != before
    assert policy_in_force().in_region("eu-west-1").sha256 == policy_in_force().sha256


def test_a_policy_inherits(tmp_path: Path) -> None:
    (tmp_path / "group.toml").write_text(
        'name = "group"\nextends = "commercial"\ntitle = "All of us"\n[company]\ndomicile = "DE"\n[rules]\n'
        'revocable = "deny"\n[[named_rules]]\nverdict = "deny"\nbecause = "board"\npublishers = ["acme"]\n'
    )
    (tmp_path / "team.toml").write_text(
        'name = "team"\nextends = "group.toml"\n[company]\ndeployment = "api"\n[[named_rules]]\nverdict = "review"\n'
        'because = "team"\nmodels = ["x/*"]\n'
    )
    team, commercial = load.load_policy(tmp_path / "team.toml"), load.load_policy("commercial")
    assert (team.name, team.title) == ("team", "")
    assert (team.company.domicile, team.company.deployment) == ("DE", "api")
    assert team.company.monthly_active_users == commercial.company.monthly_active_users
    assert team.rules.revocable is Verdict.DENY
    assert [rule.because for rule in team.named_rules] == ["board", "team"], "an inherited prohibition is not lost"
    (tmp_path / "flat.toml").write_text(text_of(team))
    flat = load.load_policy(tmp_path / "flat.toml")
    assert (flat.sha256, flat.company, flat.rules) == (team.sha256, team.company, team.rules)


@pytest.mark.parametrize(
    ("policies", "chain"),
    [
        ({"ours": "ours"}, "ours.toml extends ours.toml"),
        ({"ours": "ours.toml"}, "ours.toml extends ours.toml"),
        ({"ours": "./ours.toml"}, "ours.toml extends ours.toml"),
        ({"ours": "b.toml", "b": "c", "c": "ours.toml"}, "ours.toml extends b.toml extends c.toml extends ours.toml"),
        ({"ours": "b.toml", "b": "b"}, "b.toml extends b.toml"),
    ],
)
def test_a_circle_of_policies_is_refused_by_name(policies: dict[str, str], chain: str, tmp_path: Path) -> None:
    for name, base in policies.items():
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\nextends = "{base}"\n')
    with pytest.raises(UsageError) as caught:
        load.load_policy(tmp_path / "ours.toml")
    assert f"extends itself: {chain}" in caught.value.message


@pytest.mark.parametrize("base", ['"comercial"', "3", '""', '["commercial"]', '"."', '"absent.toml"'])
def test_a_base_that_is_none_is_refused(base: str, tmp_path: Path) -> None:
    assert "extends" in refused(f"extends = {base}\n", tmp_path).message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[company.products.chat]\nusers = 3", "unknown key 'users'"),
        ("[company]\nproducts = 3", "products is 3"),
        ("[company.products.chat]\n[company.products.chat]", "TOML"),
        ('[company.products.chat]\n[company.products."Chat "]', "one name"),
        ('[company.products.""]', "no name"),
        ('[[company.purchased]]\nlicensor = "A"\ncontract = "1"\nuntil = 2027-01-01\nmodels = []', "names no model"),
        ('[[company.purchased]]\nlicensor = "A"\ncontract = "1"\nuntil = 2027-01-01\nmodels = ["a/*"]', "models[0]"),
        ('[[company.purchased]]\nlicensor = "A"\ncontract = "1"\nuntil = "soon"\nmodels = ["a/b"]', "until"),
        ('[[company.purchased]]\nlicensor = "A"\nuntil = 2027-01-01\nmodels = ["a/b"]', "contract"),
        ('[[company.purchased]]\nlicensor = "A"\ncontract = "1"\nsince = 2028-01-01\nuntil = 2027-01-01\n'
         'models = ["a/b"]', "before it begins"),
        ('[[named_rules]]\nverdict = "allow"\nbecause = "x"\nmodels = ["a/b"]', "verdict is 'allow'"),
        ('[[named_rules]]\nverdict = "deny"\nbecause = "x"', "does not say what it is about"),
        ('[[named_rules]]\nverdict = "deny"\nmodels = ["a/b"]', "because"),
        ('[[named_rules]]\nverdict = "deny"\nbecause = "x"\nlicenses = ["lama3*"]', "'lama3*'"),
        ('[[named_rules]]\nverdict = "deny"\nbecause = "x"\nmodel = "a/b"', "unknown key 'model'"),
    ],
)  # fmt: skip
def test_what_a_company_gets_wrong_is_refused(text: str, says: str, tmp_path: Path) -> None:
    assert says in refused(text, tmp_path).message


def test_a_product_cannot_make_the_company_smaller() -> None:
    """Licenses count users and revenue with affiliates: a small product of a large company is over the limit."""
    products = {"big": Product(9.0, 9_000_000.0), "lab": Product(annual_revenue_usd=1.0)}
    company = Company(annual_revenue_usd=5_000_000.0, deployment="product", products=products)
    big, lab = company.of_product("big"), company.of_product("lab")
    assert (big.monthly_active_users, big.annual_revenue_usd, big.deployment) == (9, 9_000_000, "product")
    assert (lab.monthly_active_users, lab.annual_revenue_usd) == (None, 5_000_000)


HUNYUAN = model("tencent/Hunyuan-7B-Instruct", "other", license_name="tencent-hunyuan-community")


def with_products(policy: Policy) -> Policy:
    products = {"eu-chat": Product(customers=("US", "FR")), "lab": Product(deployment="internal")}
    return replace(policy, company=replace(policy.company, products=products))


def test_without_a_product_the_strictest_counts_and_says_so(commercial: Policy, judged: Judged) -> None:
    policy = with_products(commercial)
    every = judged(HUNYUAN, policy=policy)
    assert every.verdict is Verdict.DENY
    assert "excluded_customers" in codes(every)
    assert dict(every.products) == {"eu-chat": Verdict.DENY, "lab": Verdict.CONDITIONS}
    assert any("eu-chat: deny, lab: conditions" in note and "--product" in note for note in every.notes)
    lab = judged(HUNYUAN, policy=policy.for_product("LAB"))
    assert (lab.verdict, lab.products) == (Verdict.CONDITIONS, ())
    with pytest.raises(UsageError, match="no product 'labb'") as caught:
        policy.for_product("labb")
    assert "lab" in caught.value.fix


PAID = model("acme/paid", "cc-by-nc-4.0")
BOUGHT = Purchase("Acme Inc", "SA-117", IsoDate("2026-12-31"), ("acme/paid",))


def with_purchases(policy: Policy, *purchases: Purchase) -> Policy:
    return replace(policy, company=replace(policy.company, purchased=purchases))


def test_a_bought_license_opens_its_model_and_is_shown(commercial: Policy, judged: Judged) -> None:
    assert judged(PAID).verdict is Verdict.DENY
    answer = judged(PAID, policy=with_purchases(commercial, BOUGHT))
    assert answer.verdict is Verdict.CONDITIONS
    assert "contract SA-117 with Acme Inc until 2026-12-31" in answer.reasons[0].text
    assert "non_commercial" in codes(answer), "what was opened is still shown"
    assert any("SA-117" in owed.text for owed in answer.obligations)


def test_a_bought_license_opens_nothing_else(commercial: Policy, judged: Judged) -> None:
    policy = with_purchases(commercial, BOUGHT)
    llama1 = model("huggyllama/llama-7b", "other")
    trained = replace(PAID, datasets=("Open-Orca/OpenOrca",))
    denied = {
        "another model of the publisher": (model("acme/paid-2", "cc-by-nc-4.0"),),
        "what others made of it": (model("x/child", "mit", bases=(PAID.id,)), PAID),
        "its ancestor": (model(PAID.id, "cc-by-nc-4.0", bases=("b/nc",)), model("b/nc", "cc-by-nc-4.0")),
        "an ancestor its name implies": (replace(PAID, id="acme/llama-7b-hf"),),
    }  # fmt: skip
    for what, (asked, *others) in denied.items():
        bought = with_purchases(commercial, replace(BOUGHT, models=(PAID.id, "acme/llama-7b-hf")))
        assert judged(asked, *others, policy=bought).verdict is Verdict.DENY, what
    assert judged(trained, llama1, policy=policy).verdict >= Verdict.REVIEW, "its training data"
    rule = NamedRule("deny", "board", publishers=("acme",))
    own = replace(policy, named_rules=(rule,))
    assert judged(PAID, policy=own).verdict is Verdict.DENY, "the company's own rule"


@pytest.mark.parametrize(
    ("change", "says"),
    [({"until": "2026-11-22"}, "ended on 2026-11-22"), ({"since": "2026-11-24"}, "begins on 2026-11-24")],
)
def test_a_contract_out_of_its_term_opens_nothing_and_says_so(
    change: dict[str, str], says: str, commercial: Policy, judged: Judged
) -> None:
    answer = judged(PAID, policy=with_purchases(commercial, replace(BOUGHT, **change)))  # type: ignore[arg-type]
    assert answer.verdict is Verdict.DENY
    assert any(says in reason.text and "SA-117" in reason.text for reason in answer.reasons)


def test_a_contract_for_a_commit_is_for_that_commit(commercial: Policy, judged: Judged) -> None:
    for commit, expected in (("a" * 40, Verdict.CONDITIONS), ("b" * 40, Verdict.DENY)):
        policy = with_purchases(commercial, replace(BOUGHT, models=(f"acme/paid@{commit}",)))
        assert judged(PAID, policy=policy).verdict is expected


LLAMA = model("meta-llama/Llama-3.1-8B", "llama3.1", gated="manual")
FREE = model("acme/free", "apache-2.0", gated=False)
MIT = model("acme/mit", "mit", gated=False)


@pytest.mark.parametrize(
    ("rule", "hit", "missed"),
    [
        ({"licenses": ("llama3*",)}, (LLAMA,), (FREE,)),
        ({"licenses": ("Apache-2.0",)}, (FREE,), (MIT,)),
        ({"publishers": ("META-LLAMA",)}, (LLAMA,), (FREE,)),
        ({"publishers": ("meta-llama",)}, (model("x/llama-tune", "llama3.1", bases=(LLAMA.id,)), LLAMA), (FREE,)),
        ({"publishers": ("meta-llama",)}, (model("x/Llama-3.1-8B-mine", "apache-2.0"),), (FREE,)),
        ({"models": ("acme/f*",)}, (FREE,), (MIT,)),
        ({"gated": True}, (LLAMA,), (FREE,)),
        ({"patents": "granted"}, (FREE,), (MIT,)),
        ({"patents": "unmentioned"}, (MIT,), (FREE,)),
        ({"revocable": True}, (model("google/gemma-2-2b", "gemma"),), (FREE,)),
        ({"publishers": ("acme",), "licenses": ("mit",)}, (MIT,), (FREE,)),
    ],
)  # fmt: skip
def test_a_rule_of_the_companys_own_names_what_it_forbids(
    rule: dict[str, object], hit: tuple[object, ...], missed: tuple[object, ...], commercial: Policy, judged: Judged
) -> None:
    named = NamedRule("deny", "the board decided", **rule)  # type: ignore[arg-type]
    policy = replace(commercial, named_rules=(named,))
    answer = judged(*hit, policy=policy)
    assert answer.verdict is Verdict.DENY
    assert any("the board decided" in reason.text for reason in answer.reasons if reason.code == "policy_rule")
    assert judged(*missed, policy=policy).verdict is not Verdict.DENY
