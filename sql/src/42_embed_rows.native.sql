-- Embedding a whole query, streamed: a plain SQL body that is inlined in FROM.
--
-- Not STRICT, no SET, STABLE: any of these would keep the planner from inlining, and the
-- rows would be collected first (docs/architecture.md).
CREATE FUNCTION pgml.embed_rows(
    transformer text, query text, kwargs jsonb DEFAULT '{}', on_error text DEFAULT 'raise'
) RETURNS TABLE (key text, embedding real[], tokens integer, error text)
    LANGUAGE sql STABLE PARALLEL UNSAFE COST 200000 ROWS 1000
BEGIN ATOMIC
    SELECT r.key, r.embedding, r.tokens, r.error FROM pgml.embedding_rows AS r
    WHERE r.model = embed_rows.transformer AND r.query = embed_rows.query
      AND r.kwargs = embed_rows.kwargs AND r.on_error = embed_rows.on_error;
END;
COMMENT ON FUNCTION pgml.embed_rows(text, text, jsonb, text) IS
    'embeds the second column of a query; key is its first column, as text; in any order';
GRANT EXECUTE ON FUNCTION pgml.embed_rows(text, text, jsonb, text) TO pgml_user;
