-- The verb embed over the rows of a query. The host runs the query inside the caller's scan and
-- sends its rows as they come, so what it reads is what the caller may see.
CREATE FOREIGN TABLE pgml.embedding_rows (
    model text OPTIONS (input 'required', batch 'false'),
    query text OPTIONS (input 'required', batch 'false'),
    kwargs jsonb OPTIONS (input 'optional', batch 'false'),
    on_error text OPTIONS (input 'optional', batch 'false'),
    key text,
    embedding real[],
    tokens integer,
    error text
) SERVER pgannex OPTIONS (
    verb 'embed', model_column 'model', authorize 'pgml.authorize',
    pull 'query', stream_columns 'key text, input text', lane 'bulk', unordered 'true'
);
COMMENT ON FOREIGN TABLE pgml.embedding_rows IS
    'one row per row of query, a SELECT of two columns: key and text; in any order';
COMMENT ON COLUMN pgml.embedding_rows.model IS 'name or alias of a model of the server (required)';
COMMENT ON COLUMN pgml.embedding_rows.query IS 'a SELECT of two columns: key and text (required)';
COMMENT ON COLUMN pgml.embedding_rows.kwargs IS 'options, as of pgml.embedding';
COMMENT ON COLUMN pgml.embedding_rows.on_error IS
    'raise (default), null: a row that fails has no embedding, or status: and error says why';
COMMENT ON COLUMN pgml.embedding_rows.key IS 'first column of the query, as text';
COMMENT ON COLUMN pgml.embedding_rows.embedding IS 'the vector of the second column';
COMMENT ON COLUMN pgml.embedding_rows.tokens IS 'tokens of the text, after truncation';
COMMENT ON COLUMN pgml.embedding_rows.error IS 'why this row has no embedding, with on_error = status';
GRANT SELECT ON pgml.embedding_rows TO pgml_user;
