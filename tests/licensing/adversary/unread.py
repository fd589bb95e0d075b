"""Terms that exist and were not wholly read: by format, encoding, length, number, place, refusal, link and gate."""

from collections.abc import Iterator

from tests.licensing.adversary import Case, Repository, harmless, kind, misleading
from tests.licensing.adversary.texts import APACHE, MIT, NON_COMMERCIAL, RESEARCH_ONLY, docx, odt, pdf

TAG = "license: apache-2.0"
FILLER = "It answers questions about the weather in complete sentences.\n"


@kind("a LICENSE with a NUL byte", "what is not plain text was not read")
def nul_byte() -> Iterator[Case]:
    yield misleading("acme/nul", TAG, {"LICENSE": NON_COMMERCIAL.encode() + b"\0"})
    yield misleading("acme/nul-late", TAG, {"LICENSE": APACHE.encode() + b"\0" + NON_COMMERCIAL.encode()})
    yield misleading("acme/nul-card", readme=f"---\n{TAG}\n---\n{NON_COMMERCIAL}\0".encode())
    yield harmless("acme/no-nul", TAG, {"LICENSE": APACHE})


@kind("a LICENSE in another encoding", "letters that were not made out may say anything")
def encodings() -> Iterator[Case]:
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        yield misleading(f"acme/license-{encoding}", TAG, {"LICENSE": NON_COMMERCIAL.encode(encoding)})
    yield misleading("acme/license-gbk", TAG, {"LICENSE": "本模型仅供学术研究,禁止商业用途。\n".encode("gbk")})
    yield harmless("acme/apache-utf-16", TAG, {"LICENSE": APACHE.encode("utf-16")})
    yield harmless("acme/mit-latin-1", "license: mit", {"LICENSE": MIT.replace("(c)", "©").encode("latin-1")})


@kind("a card in another encoding", "the Hub shows it, so a person reads it")
def card_encodings() -> Iterator[Case]:
    for encoding in ("utf-16", "utf-16-be", "utf-32"):
        text = f"---\n{TAG}\n---\n{NON_COMMERCIAL}"
        yield misleading(f"acme/card-{encoding}", readme=text.encode(encoding), cardData={"license": "apache-2.0"})
    mixed = f"---\n{TAG}\n---\nA model.\n".encode() + "本模型仅供学术研究,禁止商业用途。\n".encode("gb18030")
    yield misleading("acme/card-gbk", readme=mixed, cardData={"license": "apache-2.0"})
    yield harmless("acme/card-latin-1", readme=f"---\n{TAG}\n---\nUn modèle.\n".encode("latin-1"))


@kind("a LICENSE as PDF, Word or OpenDocument", "a document is read or asked about")
def documents() -> Iterator[Case]:
    for suffix, made in (("pdf", pdf), ("docx", docx), ("odt", odt)):
        yield misleading(f"acme/as-{suffix}", TAG, {f"LICENSE.{suffix}": made(NON_COMMERCIAL)})
        yield misleading(f"acme/agreement-{suffix}", TAG, {f"Model Agreement.{suffix}": made(NON_COMMERCIAL)})
        yield misleading(f"acme/damaged-{suffix}", TAG, {f"LICENSE.{suffix}": made(NON_COMMERCIAL)[:200]})
        yield harmless(f"acme/mit-{suffix}", "license: mit", {f"LICENSE.{suffix}": made(MIT)})
    yield misleading("baichuan-inc/terms-in-pdf", TAG, {"模型许可协议.pdf": pdf(NON_COMMERCIAL)})
    for suffix in ("doc", "rtf"):
        yield misleading(f"acme/as-{suffix}", TAG, {f"LICENSE.{suffix}": NON_COMMERCIAL})
    yield harmless("acme/paper", TAG, {"paper.pdf": pdf("Attention is all you need.\n" * 20), "LICENSE": APACHE})


@kind("a restriction behind what is read", "only the beginning was read")
def too_long() -> Iterator[Case]:
    yield misleading("acme/long-license", TAG, {"LICENSE": APACHE + "\n" * 2_100_000 + NON_COMMERCIAL})
    yield misleading("acme/long-card", TAG, body=" \n" * 1_100_000 + NON_COMMERCIAL)
    yield misleading("acme/longer-card", TAG, body=FILLER * 5_000 + NON_COMMERCIAL)
    yield misleading("acme/same-lines", TAG, {"LICENSE": "This line says the same as the others.\n" * 10_000})
    yield harmless("acme/ordinary-card", TAG, body=FILLER * 1_000)


@kind("more files of terms than are read", "what was left out was not read")
def too_many() -> Iterator[Case]:
    many = {f"LICENSE-{number:02}.txt": APACHE for number in range(60)}
    yield misleading("acme/sixty", TAG, {**many, "LICENSE-99.txt": NON_COMMERCIAL})
    yield harmless("acme/six", TAG, {f"LICENSE-{number}.txt": APACHE for number in range(6)})


@kind("terms in a folder", "a folder's name makes them no less binding")
def folders() -> Iterator[Case]:
    for number, name in enumerate(
        ("LICENSES/model.md", "LICENSES/weights/terms-of-model.txt", "legal/model.txt", "docs/LICENSE",
         "weights/v2/final/LICENSE.txt", "original/AGREEMENT.md", "LICENSE/LICENSE")
    ):  # fmt: skip
        yield misleading(f"acme/folder-{number}", TAG, {name: NON_COMMERCIAL})
    yield harmless("acme/folder-apache", TAG, {"LICENSES/Apache-2.0.txt": APACHE, "original/LICENSE": APACHE})
    yield harmless("acme/vendored", TAG, {"LICENSE": APACHE, "third_party/tokenizer/LICENSE": MIT})


@kind("terms under a name in another language", "LIZENZ.txt is a license")
def names() -> Iterator[Case]:
    for number, name in enumerate(
        ("AGREEMENT.md", "LIZENZ.txt", "Nutzungsbedingungen.md", "LICENCIA", "licença.txt", "LICENZA.md", "LICENTIE",
         "许可证.txt", "模型许可协议.md", "使用许可", "利用規約.txt", "라이선스.md", "ЛИЦЕНЗИЯ.txt", "LİSANS.txt",
         "GIẤY_PHÉP.txt", "licencja.md", "ترخيص.txt", "Termos de uso", "CONDITIONS.md", "conditions-d-utilisation.txt",
         "LEGAL", "RESTRICTIONS.txt", "USER_AGREEMENT", "how-you-may-use-it.md", "README_zh.md", "COPYRIGHT")
    ):  # fmt: skip
        yield misleading(f"acme/name-{number}", TAG, {name: NON_COMMERCIAL})
    yield harmless("acme/name-apache", TAG, {"LIZENZ.txt": APACHE})
    yield harmless(
        "acme/notes", TAG, {"USAGE.md": "Install it and run it.\n", "vocab.txt": "non\ncommercial\nuse\nonly"}
    )
    yield harmless("acme/evaluation", TAG, {"legal_benchmark.md": "Scores on questions of law: 71 of 100.\n"})


@kind("a file that the Hub lists and does not return", "refused is not absent")
def refused() -> Iterator[Case]:
    for trouble in ("denied", "absent", "bad request", "403", "404"):
        for name in ("LICENSE", "README.md", "USE_POLICY.md"):
            id = f"acme/{trouble.replace(' ', '-')}-{name.partition('.')[0].lower()}"
            yield misleading(
                id, TAG, {"LICENSE": APACHE, "USE_POLICY.md": "Be kind."}, faults=((trouble, name),), only="hub"
            )
    body = f"---\n{TAG}\n---\n{RESEARCH_ONLY}"
    yield misleading("acme/card-400", readme=body, faults=(("bad request", "README.md"),), cardData={"license": "mit"})
    yield harmless("acme/returned", "license: mit", {"LICENSE": MIT})


@kind("a LICENSE that is no file", "a link that leads nowhere was not read")
def links_of_folders() -> Iterator[Case]:
    yield misleading("acme/broken", TAG, only="folder", links={"LICENSE": "../elsewhere/LICENSE"})
    yield misleading("acme/loop", TAG, only="folder", links={"LICENSE": "LICENSE.txt", "LICENSE.txt": "LICENSE"})
    yield misleading("acme/folder-link", TAG, only="folder", links={"LICENSES": "/tmp"})
    yield misleading("acme/card-link", only="folder", links={"README.md": "/etc/hostname"})
    yield harmless("acme/link", TAG, {"license-text": APACHE}, only="folder", links={"LICENSE": "license-text"})


@kind("an empty LICENSE", "there is a file of terms, and it tells none")
def empty() -> Iterator[Case]:
    yield misleading("acme/empty", TAG, {"LICENSE": ""})
    yield misleading("acme/blank", TAG, {"LICENSE": " \n\n\t\n"})
    yield misleading("acme/zero-width", TAG, {"LICENSE": "\u200b\ufeff\n"})
    yield harmless("acme/no-license-file", TAG, {"NOTICE": "Copyright 2024 Acme"})


@kind("terms behind a link", "what a link leads to was not read")
def link_targets() -> Iterator[Case]:
    yield misleading("acme/only-link", TAG, {"LICENSE": "See https://acme.example/terms"})
    for number, link in enumerate(
        ("https://acme.example/terms", "LICENSE-MODEL", "https://huggingface.co/other/model/blob/main/LICENSE",
         "https://huggingface.co/acme/link-3/blob/main/TERMS.md", "acme.example/license.pdf")
    ):  # fmt: skip
        yield misleading(f"acme/link-{number}", f"{TAG}\nlicense_link: {link}")
    yield misleading("acme/gemma-link", "license: mit\nlicense_link: https://ai.google.dev/gemma/terms")
    yield harmless("acme/own-link", f"{TAG}\nlicense_link: LICENSE", {"LICENSE": APACHE})
    own = "https://huggingface.co/acme/own-url/blob/main/LICENSE"
    yield harmless("acme/own-url", f"{TAG}\nlicense_link: {own}", {"LICENSE": APACHE})
    yield harmless("acme/apache-link", f"{TAG}\nlicense_link: https://www.apache.org/licenses/LICENSE-2.0")
    base = Repository("acme/base", TAG, {"LICENSE": APACHE})
    link = "https://huggingface.co/acme/base/blob/main/LICENSE"
    yield harmless("acme/child", f"{TAG}\nlicense_link: {link}", None, base, base_model="acme/base")


@kind("a LICENSE behind a gate", "a tag that is not the publisher's own license says nothing of the file")
def gates() -> Iterator[Case]:
    yield misleading("acme/gated", TAG, {"LICENSE": NON_COMMERCIAL}, gated="manual")
    yield misleading("acme/gated-llama", "license: llama3.1", {"LICENSE": NON_COMMERCIAL}, gated="auto")
    yield misleading("meta-llama/gated-mit", "license: mit", {"LICENSE": NON_COMMERCIAL}, gated="auto")
    for id, tag in (("meta-llama/Llama-3.1-8B", "llama3.1"), ("google/gemma-3-1b-it", "gemma")):
        yield harmless(id, f"license: {tag}", {"LICENSE": "its terms"}, gated="manual", expect="conditions")
    yield harmless("acme/gate-without-files", TAG, gated="auto")


@kind("a Hub that is not the one that was asked", "another host, or another commit, is not believed")
def wrong_hubs() -> Iterator[Case]:
    free = {"LICENSE": APACHE}
    yield misleading("acme/elsewhere", TAG, free, only="hub", wrong_hub={"api_elsewhere": "http://localhost:9"})
    yield misleading("acme/other-commit", TAG, free, only="hub", wrong_hub={"commit_of_files": "b" * 40})
    yield harmless("acme/this-hub", TAG, free, only="hub")
