-- Embedding a whole query without a host that can run it: plpgsql reads the query, and sends
-- its texts in arrays of 512. The rows are collected before the first is returned, and a
-- wrapper in Python refuses NULL elements, so they are handled here.
CREATE FUNCTION pgml.embed_rows(
    transformer text, query text, kwargs jsonb DEFAULT '{}', on_error text DEFAULT 'raise'
) RETURNS TABLE (key text, embedding real[], tokens integer, error text)
    LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE COST 200000 ROWS 1000
AS $$
DECLARE
    keys pg_catalog.text[];
    texts pg_catalog.text[];
    missing pg_catalog.text[];
BEGIN
    FOR keys, texts, missing IN EXECUTE pg_catalog.format(
        E'SELECT pg_catalog.array_agg(k) FILTER (WHERE t IS NOT NULL),'
        '       pg_catalog.array_agg(t) FILTER (WHERE t IS NOT NULL),'
        '       pg_catalog.array_agg(k) FILTER (WHERE t IS NULL)'
        ' FROM (SELECT k::pg_catalog.text, t::pg_catalog.text,'
        '              (pg_catalog.row_number() OVER () OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog./) 512 AS part'
        '       FROM (%s\n) AS q (k, t)) AS numbered'
        ' GROUP BY part', pg_catalog.rtrim(embed_rows.query, E'; \t\n'))
    LOOP
        IF missing IS NOT NULL AND embed_rows.on_error OPERATOR(pg_catalog.=) 'raise' THEN
            RAISE EXCEPTION 'the text of key % is NULL', coalesce(missing[1], 'NULL')
                USING ERRCODE = 'null_value_not_allowed', DETAIL = 'code: null_input',
                      HINT = 'leave such rows out, or use on_error => ''null'' or ''status''';
        END IF;
        RETURN QUERY
            SELECT keys[e.ordinal::integer], e.embedding, e.tokens, e.error FROM pgml.embedding AS e
            WHERE e.model OPERATOR(pg_catalog.=) embed_rows.transformer
              AND e.input OPERATOR(pg_catalog.=) ANY (texts)
              AND e.kwargs OPERATOR(pg_catalog.=) embed_rows.kwargs
              AND e.on_error OPERATOR(pg_catalog.=) embed_rows.on_error;
        RETURN QUERY
            SELECT m.k, NULL::real[], NULL::integer,
                   CASE WHEN embed_rows.on_error OPERATOR(pg_catalog.=) 'status' THEN 'the text is NULL' END
            FROM pg_catalog.unnest(missing) AS m (k);
    END LOOP;
END
$$;
COMMENT ON FUNCTION pgml.embed_rows(text, text, jsonb, text) IS
    'embeds the second column of a query; key is its first column, as text; in any order';
GRANT EXECUTE ON FUNCTION pgml.embed_rows(text, text, jsonb, text) TO pgml_user;
