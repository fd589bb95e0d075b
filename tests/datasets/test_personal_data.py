"""Secrets and personal data: what is found, and what ordinary text is left alone. Every value here is made up."""

import pytest

from modelpick.datasets import personal_data

LETTERS = "abCD12efGH34ijKL56mnOP78qrST90uvWX12yzAB"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("key AKIAQWERTYUIOPASDFGH,", "AWS access key id"),
        (f"aws_secret_access_key = {LETTERS}", "AWS secret access key"),
        (f'"SecretAccessKey": "{LETTERS}"', "AWS secret access key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
        ("-----BEGIN PRIVATE KEY-----", "private key"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----", "private key"),
        (f"token hf_{LETTERS[:34]}", "Hugging Face token"),
        (f"ghp_{LETTERS[:36]}", "GitHub token"),
        (f"github_pat_{LETTERS}{LETTERS}", "GitHub token"),
        (f"glpat-{LETTERS[:20]}", "GitLab token"),
        (f"OPENAI_API_KEY=sk-proj-{LETTERS}", "API key"),
        (f"sk-ant-api03-{LETTERS}", "API key"),
        (f"AIza{LETTERS[:35]}", "API key"),
        ("xoxb-123456789012-abcdef", "Slack token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk", "JSON web token"),
        ("postgres://anna:h8Kq2Lm9@db.firma.de/shop", "password in an address"),
        ("password = hunter2hunter2", "password assignment"),
        ("write to anna.berg@firma.de.", "e-mail address"),
        ("(anna+news@mail.firma.co.uk)", "e-mail address"),
        ("call +49 30 1234567", "phone number"),
        ("call +44 20 7946 0958 now", "phone number"),
        ("tel. +1 (212) 736-5000", "phone number"),
        ("call (212) 736-5000", "US phone number"),
        ("212-736-5000", "US phone number"),
        ("SSN 123-45-6789", "US social security number"),
        ("card 4111 1111 1111 1111", "payment card number"),
        ("card 5555-5555-5555-4444.", "payment card number"),
        ("amex 378282246310005", "payment card number"),
        ("2223003122003222", "payment card number"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN"),
        ("IBAN DE89370400440532013000 BIC COBADEFFXXX", "IBAN"),
        ("pay to GB82 WEST 1234 5698 7654 32 BY FRIDAY", "IBAN"),
        ("NO9386011117947", "IBAN"),
    ],
)
def test_sensitive_text_is_recognised(text: str, name: str) -> None:
    found = personal_data.find(f"Before it, {text} and after.")
    assert name in {one.name for one in found}
    assert all(len(one.hint) <= 7 for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "order 4111 1111 1111 1112",
        "0.4111111111111111 and 4111111111111111.5",
        "ISBN 978-3-16-148410-0, ISBN-10 0-306-40615-2, ISSN 0317-8471, EAN 4006381333931",
        "doi:10.1145/3292500.3330701, arXiv:2305.11206, RFC 5322, PMID 31452104",
        "on 2024-05-17 at 12:30:45, 17.05.2024, 05/17/2024, 1999-2004, 20240517123045",
        "version 1.2.3.4, v2.10.1-rc.1+build.5, torch==2.13.0, pip install x@1.2.3-beta.rc",
        "192.168.0.1, 10.0.0.0/8, 127.0.0.1:8080, 2001:db8::1, 255.255.255.0",
        "user@example.com, a@mail.example.org, b@host.test, c@printer.local, icon@2x.png",
        "git@github.com:a/b, no-reply@github.com, https://medium.com/@anna, @app.route",
        "password = os.environ['A1'], api_key = your_api_key_here, password: getpass.getpass()",
        "postgres://user:password@localhost/db, https://host:8080/@scope, http://{user}:{pw}@host",
        "AKIAIOSFODNN7EXAMPLE / wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "-----BEGIN PUBLIC KEY-----, -----BEGIN CERTIFICATE-----",
        "hf_hub_download, sk-learn, sk-toggleable__control sk-hidden--visually, risk-based-assessment-of-all-we-do",
        "DE00 1234 5678 9012 3456 78, XX12 ABCD EFGH IJKL MNOP",
        "555-0123, 555-555-0123, 12-34-5678, 000-12-3456, call 911",
        "3 +12 456 789 = x, 1+1, +5 %, +100 000 units",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "uuid 550e8400-e29b-41d4-a716-446655440000, 0x4111111111111111, 1700000000000",
        "$4,111,111,111,111,111 or 6.02214076e23, pi is 3.14159265358979323846",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert personal_data.find(text) == ()


def test_long_texts_take_no_forever() -> None:
    """No pattern may look at every piece of a long run of one kind of letter again and again."""
    for run in ("a", "a.", "1", "1 ", "A1", "@", "+1", "://", "key=", "-", "Secret"):
        personal_data.find(run * (300_000 // len(run)))
