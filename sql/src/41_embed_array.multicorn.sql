-- pgml.embed of an array: plpgsql, because that plans with the array as a constant. Postgres
-- then rechecks it by hashing, and Multicorn2, which cannot explain a parameter that is an
-- array, never meets one. The rows are collected before the first is returned.
CREATE FUNCTION pgml.embed(transformer text, inputs text[], kwargs jsonb DEFAULT '{}') RETURNS SETOF real[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 200000 ROWS 100
AS $$
BEGIN
    RETURN QUERY
        SELECT e.embedding FROM pgml.embedding AS e
        WHERE e.model OPERATOR(pg_catalog.=) embed.transformer
          AND e.input OPERATOR(pg_catalog.=) ANY (embed.inputs)
          AND e.kwargs OPERATOR(pg_catalog.=) embed.kwargs;
END
$$;
COMMENT ON FUNCTION pgml.embed(text, text[], jsonb) IS
    'the embedding of each text by the model transformer, in the order of the array';
GRANT EXECUTE ON FUNCTION pgml.embed(text, text[], jsonb) TO pgml_user;
