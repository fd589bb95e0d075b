"""Makes a parquet file of the shape of the public hub-stats dump, of any size, without the Hub.

    python benchmarks/hub_file.py hub.parquet [ROWS] [--one-parent N] [--cycle N]

The mix follows what is known of the Hub in 2025: some 60 % of the repositories state no license, 45 % name a parent,
most parents are a few hundred popular models, names tell the family. Among them are merges of several parents, chains,
self-references, cycles, parents that are gone, paths, other spellings of upper and lower case. `--one-parent` gives one
model that many children more, `--cycle` adds one circle of that many models. Equal arguments make equal files.
"""

import argparse
from pathlib import Path

ROWS = 2_500_000
# Stems of names with how often they occur (of 1,000), and the license that their publishers give.
_STEMS = (
    ("Llama-3.1-8B-Instruct", 40), ("Llama-3.2-3B-Instruct", 30), ("Llama-2-7b-chat-hf", 25), ("Meta-Llama-3-8B", 25),
    ("Qwen2.5-7B-Instruct", 45), ("Qwen2.5-3B", 15), ("Qwen3-8B", 30), ("Mistral-7B-Instruct-v0.3", 40),
    ("Mixtral-8x7B-v0.1", 10), ("gemma-2-9b-it", 25), ("gemma-3-4b-it", 20), ("Phi-3-mini-4k", 15),
    ("DeepSeek-R1-Distill-Qwen-7B", 15), ("falcon-7b", 8), ("opt-1.3b", 8), ("bloom-560m", 8), ("vicuna-7b-v1.5", 5),
    ("starcoder2-3b", 5), ("command-r", 3), ("bert-base-uncased", 80), ("distilbert-base-uncased", 70),
    ("roberta-base", 40), ("whisper-small", 50), ("wav2vec2-base", 30), ("stable-diffusion-xl", 50), ("flux-dev", 40),
    ("vit-base-patch16", 30), ("t5-small", 30), ("gpt2", 30), ("ppo-LunarLander-v2", 50), ("q-FrozenLake-v1", 40),
    ("my-model", 1000),
)  # fmt: skip
_LICENSES = (
    ("apache-2.0", 190), ("mit", 90), ("openrail", 18), ("creativeml-openrail-m", 22), ("other", 25),
    ("cc-by-nc-4.0", 12), ("cc-by-4.0", 8), ("llama3.1", 8), ("llama3.2", 6), ("llama3", 6), ("llama2", 6),
    ("gemma", 8), ("cc-by-sa-4.0", 2), ("cc-by-nc-sa-4.0", 3), ("bigscience-bloom-rail-1.0", 1), ("unknown", 2),
    ("bsd-3-clause", 1), ("gpl-3.0", 2), ("afl-3.0", 2), ("agpl-3.0", 1),
)  # fmt: skip
_PIPELINES = (
    "['text-generation','text-classification','fill-mask','image-text-to-text','text-to-image',"
    "'automatic-speech-recognition','feature-extraction','reinforcement-learning']"
)
_OWNERS = (
    "['meta-llama','Qwen','google','mistralai','microsoft','deepseek-ai','tiiuae','facebook','openai','HuggingFaceTB']"
)


def _by_share(pairs: tuple[tuple[str, int], ...], number: str) -> str:
    """SQL that picks one of `pairs` by a number from 0 to 999; NULL beyond their sum."""
    cases, sum_so_far = [], 0
    for name, share in pairs:
        sum_so_far += share
        cases.append(f"WHEN {number} < {sum_so_far} THEN '{name}'")
    return f"CASE {' '.join(cases)} END"


def make(path: Path, rows: int = ROWS, *, one_parent: int = 0, cycle: int = 0) -> None:
    """Write the file. The first 400 rows are the popular models that most others are made from."""
    import duckdb

    spill = path.with_suffix(".spill")
    with duckdb.connect(config={"threads": 2, "memory_limit": "3GB", "temp_directory": str(spill)}) as connection:
        for statement in _statements(rows, one_parent, cycle):
            connection.execute(statement)
        connection.execute(
            f"COPY (SELECT * EXCLUDE (i) FROM dump ORDER BY hash(i)) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        )


def _statements(rows: int, one_parent: int, cycle: int) -> list[str]:
    def pick(salt: int, below: int) -> str:
        return f"(hash(i * 64 + {salt}) % {below})::BIGINT"

    popular = f"(400 * pow({pick(3, 1_000_000)} / 1e6, 3))::BIGINT"
    # A child of a popular model mostly keeps its name, and half of them its license.
    of_popular = f"i >= 400 AND {pick(4, 100)} < 46 AND {pick(7, 1000)} BETWEEN 3 AND 619"
    stem = _by_share(_STEMS, f"(hash((CASE WHEN {of_popular} THEN {popular} ELSE i END) * 64 + 1) % 1000)::BIGINT")
    kept = f"{of_popular} AND i % 2 = 0"
    license = _by_share(_LICENSES, f"(hash((CASE WHEN {kept} THEN {popular} ELSE i END) * 64 + 2) % 1000)::BIGINT")
    names = f"""
        CREATE TEMP TABLE names AS SELECT i, stem, license, kind, CASE
            WHEN i < 400 THEN {_OWNERS}[i % 10 + 1] || '/' || stem || CASE WHEN i >= 10 THEN '-' || i ELSE '' END
            ELSE 'org' || (hash(i * 64 + 5) % {max(rows // 8, 1)}) || '/' || stem || CASE kind
                WHEN 'quantized' THEN ['-GGUF','-4bit','-AWQ','-GPTQ','.gguf-i1'][i % 5 + 1]
                WHEN 'adapter' THEN ['-lora','-qlora','-adapter','-peft'][i % 4 + 1]
                WHEN 'merge' THEN '-merge' ELSE '-ft' END || '-' || i END AS id
        FROM (SELECT i, {stem} AS stem, {license} AS license, CASE
                WHEN i < 400 OR {pick(4, 100)} >= 46 THEN NULL
                WHEN {pick(6, 100)} < 38 THEN 'finetune' WHEN {pick(6, 100)} < 66 THEN 'adapter'
                WHEN {pick(6, 100)} < 95 THEN 'quantized' ELSE 'merge' END AS kind
              FROM range({rows}) t(i))"""
    first = f"""CASE
        WHEN {pick(7, 1000)} < 2 THEN i
        WHEN {pick(7, 1000)} < 3 THEN i + (1 - 2 * (i % 2))
        WHEN {pick(7, 1000)} < 620 THEN least({popular}, {rows} - 1)
        ELSE {pick(8, 1 << 40)} % greatest(i, 1) END"""
    more = f"{pick(9, 400)}, {pick(10, 1 << 40)} % greatest(i, 1)"
    several = f"CASE WHEN kind = 'merge' THEN [{first}, {more}] ELSE [{first}] END"
    edges = f"""
        CREATE TEMP TABLE parents AS SELECT e.i AS i, list(DISTINCT CASE
            WHEN hash(e.i * 64 + 11) % 100 < 4 THEN 'gone/' || p.stem || '-' || (hash(e.i) % 5000)
            WHEN hash(e.i * 64 + 11) % 1000 = 999 THEN '/home/user/checkpoints/' || p.stem
            WHEN hash(e.i * 64 + 12) % 100 < 3 THEN lower(p.id) ELSE p.id END) AS parents
        FROM (SELECT i, unnest({several}) AS parent FROM names WHERE kind IS NOT NULL) e
        JOIN names p ON p.i = e.parent GROUP BY e.i"""
    tags = f"""list_concat(
        ['transformers', 'safetensors', 'region:us', 'endpoints_compatible', stem,
         'arxiv:' || (1000 + i % 9000) || '.01234', 'autotrain_compatible', 'text-generation-inference'],
        CASE WHEN license IS NULL THEN [] ELSE ['license:' || license] END,
        CASE WHEN kind = 'merge' THEN ['merge', 'mergekit'] WHEN kind = 'adapter' THEN ['lora'] ELSE [] END,
        list_transform(coalesce(parents, []), lambda p: 'base_model:' || p),
        list_transform(coalesce(parents, []), lambda p: 'base_model:' || kind || ':' || p),
        CASE WHEN {pick(13, 100)} < 2 THEN ['dataset:tatsu-lab/alpaca'] WHEN {pick(13, 100)} < 12
             THEN ['dataset:someone/data-' || {pick(14, 100_000)}] ELSE [] END)"""
    card = """CASE WHEN license IS NULL AND kind IS NULL THEN NULL ELSE to_json({
        'license': license, 'language': ['en'],
        'license_name': CASE WHEN license = 'other'
            THEN ['qwen','deepseek','my-terms','llama-3-community-license'][i % 4 + 1] END,
        'license_link': CASE WHEN license = 'other' THEN 'https://huggingface.co/' || id || '/blob/main/LICENSE' END,
        'base_model': parents, 'tags': ['generated'], 'pipeline_tag': 'text-generation'})::VARCHAR END"""
    dump = f"""
        CREATE TEMP VIEW dump AS SELECT i, id, split_part(id, '/', 1) AS author, {tags} AS tags,
            {_PIPELINES}[{pick(15, 10)} + 1] AS pipeline_tag,
            CASE WHEN kind = 'adapter' THEN 'peft' WHEN {pick(16, 10)} < 7 THEN 'transformers' END AS library_name,
            (1000 / (1 + {pick(17, 100_000)} / 100.0))::BIGINT AS likes, 0.0 AS trendingScore,
            (3e7 * pow({pick(18, 1_000_000)} / 1e6, 24) + CASE WHEN i < 400 THEN 1e6 ELSE 0 END)::BIGINT AS downloads,
            (9e7 * pow({pick(18, 1_000_000)} / 1e6, 20))::BIGINT AS "downloadsAllTime",
            TIMESTAMP '2022-03-02' + INTERVAL (i % 1300) DAY AS "createdAt",
            TIMESTAMP '2023-03-02' + INTERVAL (i % 1000) DAY AS "lastModified",
            CASE WHEN parents IS NULL THEN NULL ELSE {{'models': list_transform(parents, lambda p: {{'_id': md5(p)[:24],
                'id': p}}), 'relation': kind}} END AS "baseModels",
            CASE WHEN {pick(19, 10)} < 5 THEN {{'parameters': {{'BF16': 7000000000::BIGINT}},
                'total': 7000000000::BIGINT}} END AS safetensors,
            {card} AS "cardData",
            CASE WHEN {pick(20, 1000)} < 12 THEN ['auto', 'manual'][i % 2 + 1] ELSE 'false' END AS gated,
            sha1(id) AS sha
        FROM (SELECT * FROM names LEFT JOIN parents USING (i)
              UNION ALL SELECT {rows} + k, 'bert-base-uncased', 'mit', 'finetune', 'children/of-one-' || k,
                  [(SELECT id FROM names WHERE i = 0)] FROM range({one_parent}) t(k)
              UNION ALL SELECT {rows + one_parent} + k, 'my-model', 'mit', 'finetune', 'circle/member-' || k,
                  ['circle/member-' || (k + 1) % {max(cycle, 1)}] FROM range({cycle}) t(k))"""
    return [names, edges, dump]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("rows", type=int, nargs="?", default=ROWS)
    parser.add_argument("--one-parent", type=int, default=0)
    parser.add_argument("--cycle", type=int, default=0)
    given = parser.parse_args()
    make(given.path, given.rows, one_parent=given.one_parent, cycle=given.cycle)
    print(f"{given.path}: {given.path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
