-- pgml.embed, as PostgresML has it: names of arguments and of the output are API.
--
-- IMMUTABLE so that a generated column may use it: one (model, revision, kwargs) gives one
-- vector for ever. The scalar form is plpgsql because that keeps its plan for the session;
-- right-hand sides are bare variables, so a generic plan serves. The array form is a SQL
-- body because that streams in a SELECT list. COST: a text takes some milliseconds.
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

CREATE FUNCTION pgml.embed(transformer text, inputs text[], kwargs jsonb DEFAULT '{}') RETURNS SETOF real[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 200000 ROWS 100
BEGIN ATOMIC
    SELECT e.embedding FROM pgml.embedding AS e
    WHERE e.model = embed.transformer AND e.input = ANY (embed.inputs) AND e.kwargs = embed.kwargs;
END;
COMMENT ON FUNCTION pgml.embed(text, text[], jsonb) IS
    'the embedding of each text by the model transformer, in the order of the array';
GRANT EXECUTE ON FUNCTION pgml.embed(text, text, jsonb), pgml.embed(text, text[], jsonb) TO pgml_user;
