-- The nearest rows of a table to a text. Needs pgvector; nothing else here does.
--
-- The query is embedded once, into a variable, and then compared by the operator that an
-- index on the column serves. Names from pgvector are qualified with its own schema.
CREATE FUNCTION pgml.vector_search(
    transformer text, query text, relation regclass, vector_column name,
    top_k integer DEFAULT 10, metric text DEFAULT 'cosine', kwargs jsonb DEFAULT '{}'
) RETURNS TABLE (distance double precision, record jsonb)
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 200000 ROWS 10
AS $$
DECLARE
    home pg_catalog.name;
    comparison pg_catalog.text := pg_catalog.jsonb_extract_path_text(
        '{"cosine": "<=>", "l2": "<->", "inner": "<#>"}', vector_search.metric);
    column_type pg_catalog.text;
BEGIN
    SELECT n.nspname INTO home
    FROM pg_catalog.pg_extension AS x JOIN pg_catalog.pg_namespace AS n
        ON n.oid OPERATOR(pg_catalog.=) x.extnamespace
    WHERE x.extname OPERATOR(pg_catalog.=) 'vector';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'pgml.vector_search needs pgvector, which this database does not have'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'CREATE EXTENSION vector, where pgvector is installed; everything else of pgml works without it';
    END IF;
    IF comparison IS NULL THEN
        RAISE EXCEPTION 'there is no metric "%"', vector_search.metric
            USING ERRCODE = 'invalid_parameter_value', HINT = 'one of: cosine, l2, inner';
    END IF;
    column_type := pgml.column_type(vector_search.relation, vector_search.vector_column);
    IF column_type OPERATOR(pg_catalog.=) ANY (ARRAY['real[]', 'double precision[]', 'numeric[]']) THEN
        column_type := pg_catalog.format('%I.vector', home);
    END IF;
    RETURN QUERY EXECUTE pg_catalog.format(
        'SELECT d, pg_catalog.to_jsonb(t) OPERATOR(pg_catalog.-) %2$L::pg_catalog.text'
        ' FROM (SELECT r AS t, r.%2$I::%3$s OPERATOR(%4$I.%5$s) $1::%3$s AS d FROM %1$s AS r'
        '       ORDER BY r.%2$I::%3$s OPERATOR(%4$I.%5$s) $1::%3$s LIMIT $2) AS nearest',
        vector_search.relation, vector_search.vector_column, column_type, home, comparison)
        USING pgml.embed(vector_search.transformer, vector_search.query, vector_search.kwargs), vector_search.top_k;
END
$$;
COMMENT ON FUNCTION pgml.vector_search(text, text, regclass, name, integer, text, jsonb) IS
    'the top_k rows of relation nearest to query: distance (cosine, l2 or inner), and the row without the vector';
GRANT EXECUTE ON FUNCTION pgml.vector_search(text, text, regclass, name, integer, text, jsonb) TO pgml_user;
