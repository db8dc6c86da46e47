-- Embedding a column of a table: pgml.embed_rows over the SELECT that one would write.
--
-- Inlined in FROM like embed_rows itself; the names are quoted by format.
CREATE FUNCTION pgml.embed_table(
    transformer text, relation regclass, key_column name, text_column name,
    kwargs jsonb DEFAULT '{}', on_error text DEFAULT 'raise'
) RETURNS TABLE (key text, embedding real[], tokens integer, error text)
    LANGUAGE sql STABLE PARALLEL UNSAFE COST 200000 ROWS 1000
BEGIN ATOMIC
    SELECT r.key, r.embedding, r.tokens, r.error
    FROM pgml.embed_rows(
        embed_table.transformer,
        pg_catalog.format('SELECT %I, %I FROM %s',
                          embed_table.key_column, embed_table.text_column, embed_table.relation),
        embed_table.kwargs, embed_table.on_error) AS r;
END;
COMMENT ON FUNCTION pgml.embed_table(text, regclass, name, name, jsonb, text) IS
    'embeds a column of a table; key is the key column, as text; in any order';
GRANT EXECUTE ON FUNCTION pgml.embed_table(text, regclass, name, name, jsonb, text) TO pgml_user;
