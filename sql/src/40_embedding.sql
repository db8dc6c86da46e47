-- The verb embed as foreign tables. All else that embeds is a door over one of these.
CREATE FOREIGN TABLE pgml.embedding (
    model text OPTIONS (input 'required', batch 'false'),
    input text OPTIONS (input 'required'),
    kwargs jsonb OPTIONS (input 'optional', batch 'false'),
    on_error text OPTIONS (input 'optional', batch 'false'),
    ordinal bigint,
    embedding real[],
    tokens integer,
    error text
) SERVER pgannex OPTIONS (verb 'embed', model_column 'model', authorize 'pgml.authorize');
COMMENT ON FOREIGN TABLE pgml.embedding IS
    'one row per text: WHERE model = … AND input = … , or input = ANY (array) for a batch';
COMMENT ON COLUMN pgml.embedding.model IS 'name or alias of a model of the server (required)';
COMMENT ON COLUMN pgml.embedding.input IS 'the text, or = ANY (texts) (required)';
COMMENT ON COLUMN pgml.embedding.kwargs IS 'options: prompt, prompt_name, normalize_embeddings, truncate_dim, …';
COMMENT ON COLUMN pgml.embedding.on_error IS
    'raise (default), null: a row that fails has no embedding, or status: and error says why';
COMMENT ON COLUMN pgml.embedding.ordinal IS 'position of the text in the array, from 1';
COMMENT ON COLUMN pgml.embedding.embedding IS 'the vector';
COMMENT ON COLUMN pgml.embedding.tokens IS 'tokens of the text, after truncation';
COMMENT ON COLUMN pgml.embedding.error IS 'why this row has no embedding, with on_error = status';
GRANT SELECT ON pgml.embedding TO pgml_user;
