-- pgml.embed of an array: a SQL body, because that streams in a SELECT list.
CREATE FUNCTION pgml.embed(transformer text, inputs text[], kwargs jsonb DEFAULT '{}') RETURNS SETOF real[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 200000 ROWS 100
BEGIN ATOMIC
    SELECT e.embedding FROM pgml.embedding AS e
    WHERE e.model = embed.transformer AND e.input = ANY (embed.inputs) AND e.kwargs = embed.kwargs;
END;
COMMENT ON FUNCTION pgml.embed(text, text[], jsonb) IS
    'the embedding of each text by the model transformer, in the order of the array';
GRANT EXECUTE ON FUNCTION pgml.embed(text, text[], jsonb) TO pgml_user;
