"""Other engines on the table: python with_engines.py DATA/lake/records LEAVES

The same question to each, about the first LEAVES leaves; then every recipe of docs/engines.md."""

import contextlib
import json
import pathlib
import re
import sys

import duckdb
import polars as pl
from deltalake import DeltaTable, QueryBuilder
from pyspark.sql import SparkSession

path, leaves = sys.argv[1], int(sys.argv[2])
table = DeltaTable(path)
QUESTION = """
SELECT kind, count(*) AS records, sum(gen_ai_usage_input_tokens) AS input_tokens,
       sum({length}(onrecord_input_text)) AS characters, {micros} AS first_us, sum(cardinality(onrecord_tags)) AS tags
FROM records WHERE leaf_index < {leaves} GROUP BY kind ORDER BY kind
"""


def in_duckdb():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    files = connection.read_parquet(table.file_uris())
    connection.register("records", files)
    ask = QUESTION.format(length="length", micros="epoch_us(min(captured_at))", leaves=leaves)
    return connection.execute(ask).fetchall()


def in_polars():
    records = pl.scan_delta(table).filter(pl.col("leaf_index") < leaves)
    rows = records.group_by("kind").agg(
        pl.len().alias("records"),
        pl.col("gen_ai_usage_input_tokens").sum(),
        pl.col("onrecord_input_text").str.len_chars().sum().alias("characters"),
        pl.col("captured_at").min().dt.epoch("us").alias("first_us"),
        pl.col("onrecord_tags").map.len().sum().alias("tags"),
    )
    return rows.sort("kind").collect().rows()


def in_deltalake():
    ask = QUESTION.format(length="character_length", micros="CAST(min(captured_at) AS BIGINT)", leaves=leaves)
    rows = QueryBuilder().register("records", table).execute(ask).read_all()
    return list(zip(*(column.to_pylist() for column in rows.columns)))


def in_spark():
    settings = {"spark.master": "local[1]", "spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1"}
    builder = SparkSession.builder.config(map=settings | {"spark.log.level": "ERROR", "spark.sql.shuffle.partitions": "1"})
    session = builder.getOrCreate()
    session.read.parquet(*table.file_uris()).createOrReplaceTempView("records")
    ask = QUESTION.format(length="length", micros="unix_micros(min(captured_at))", leaves=leaves)
    return [tuple(row) for row in session.sql(ask).collect()]


def plain(rows):
    """Sums of nothing are null in one engine and 0 in another; decimals and integers are the same number."""
    return [[cell if isinstance(cell, str) else int(cell or 0) for cell in row] for row in rows]


def recipes():
    """Runs them; gives how many there are."""
    page = pathlib.Path(__file__).parents[4] / "docs" / "engines.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    with contextlib.redirect_stdout(sys.stderr):
        for block in blocks:
            exec(block.replace("DATA/lake/records", path), {})
    return len(blocks)


found = {"duckdb": plain(in_duckdb()), "polars": plain(in_polars()), "deltalake": plain(in_deltalake())}
found["spark"] = plain(in_spark())
json.dump(found | {"recipes": recipes()}, sys.stdout)
