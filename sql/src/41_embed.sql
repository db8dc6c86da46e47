-- pgml.embed, as PostgresML has it: names of arguments and of the output are API.
--
-- IMMUTABLE so that a generated column may use it: one (model, revision, kwargs) gives one
-- vector for ever. The scalar form is plpgsql because that keeps its plan for the session;
-- right-hand sides are bare variables, so a generic plan serves. The array form is in
-- 41_embed_array, a file per host. COST: a text takes some milliseconds.
CREATE FUNCTION pgml.embed(transformer text, text text, kwargs jsonb DEFAULT '{}') RETURNS real[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 200000
AS $$
BEGIN
    RETURN (
        SELECT e.embedding FROM pgml.embedding AS e
        WHERE e.model OPERATOR(pg_catalog.=) embed.transformer
          AND e.input OPERATOR(pg_catalog.=) embed.text
          AND e.kwargs OPERATOR(pg_catalog.=) embed.kwargs);
END
$$;
COMMENT ON FUNCTION pgml.embed(text, text, jsonb) IS
    'the embedding of one text by the model transformer';
GRANT EXECUTE ON FUNCTION pgml.embed(text, text, jsonb) TO pgml_user;
