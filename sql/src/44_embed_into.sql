-- Embedding a query into a table: the usual INSERT, with the types that the table has.
--
-- The vector column may be real[], pgvector's vector or halfvec, or any other type with a
-- cast from real[]; the key travels as text and is cast to the key column's type. No SET
-- search_path: the user's query is read with the user's own. Every name here is qualified.
CREATE FUNCTION pgml.embed_into(
    transformer text, query text, target regclass, key_column name, vector_column name,
    kwargs jsonb DEFAULT '{}', on_error text DEFAULT 'raise', mode text DEFAULT 'insert'
) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 200000
AS $$
DECLARE
    written bigint;
    statement pg_catalog.text := CASE embed_into.mode
        WHEN 'insert' THEN 'INSERT INTO %1$s (%2$I, %3$I) %4$s'
        WHEN 'upsert' THEN 'INSERT INTO %1$s (%2$I, %3$I) %4$s'
                           ' ON CONFLICT (%2$I) DO UPDATE SET %3$I = EXCLUDED.%3$I'
        -- Materialized: a join that rescans the stream would embed again for each row.
        WHEN 'update' THEN 'WITH s AS MATERIALIZED (%4$s)'
                           ' UPDATE %1$s AS t SET %3$I = s.embedding FROM s WHERE t.%2$I = s.key'
    END;
BEGIN
    IF statement IS NULL THEN
        RAISE EXCEPTION 'there is no mode "%"', embed_into.mode
            USING ERRCODE = 'invalid_parameter_value', HINT = 'one of: insert, upsert, update';
    END IF;
    IF embed_into.on_error OPERATOR(pg_catalog.<>) ALL (ARRAY['raise', 'null']) THEN
        RAISE EXCEPTION 'on_error is "%"', embed_into.on_error
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'one of: raise, null; for a status per row read pgml.embed_rows';
    END IF;
    EXECUTE pg_catalog.format(statement, embed_into.target, embed_into.key_column, embed_into.vector_column,
        pg_catalog.format(
            'SELECT CAST(r.key AS %s) AS key, CAST(r.embedding AS %s) AS embedding'
            ' FROM pgml.embed_rows($1, $2, $3, $4) AS r',
            pgml.column_type(embed_into.target, embed_into.key_column),
            pgml.column_type(embed_into.target, embed_into.vector_column)))
        USING embed_into.transformer, embed_into.query, embed_into.kwargs, embed_into.on_error;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;
COMMENT ON FUNCTION pgml.embed_into(text, text, regclass, name, name, jsonb, text, text) IS
    'embeds a query of key and text into a table: inserts, upserts on the key, or updates; returns how many rows';
GRANT EXECUTE ON FUNCTION pgml.embed_into(text, text, regclass, name, name, jsonb, text, text) TO pgml_user;
