-- A digest per column of a query's rows, computed by the server: proof that what a query
-- yields here is what arrives there, type by type. Training sends its rows the same way.
CREATE FOREIGN TABLE pgml.row_digest (
    query text OPTIONS (input 'required', batch 'false'),
    column_name text,
    type_oid oid,
    row_count bigint,
    null_count bigint,
    sha256 text
) SERVER pgannex OPTIONS (verb 'digest', authorize 'pgml.authorize', push 'query', lane 'bulk');
COMMENT ON FOREIGN TABLE pgml.row_digest IS 'one row per column of query: rows, NULLs and sha256 of the values';
COMMENT ON COLUMN pgml.row_digest.query IS 'a SELECT (required)';
COMMENT ON COLUMN pgml.row_digest.column_name IS 'name of the column';
COMMENT ON COLUMN pgml.row_digest.type_oid IS 'type of the column as it was sent';
COMMENT ON COLUMN pgml.row_digest.row_count IS 'rows that arrived';
COMMENT ON COLUMN pgml.row_digest.null_count IS 'NULLs among them';
COMMENT ON COLUMN pgml.row_digest.sha256 IS 'hash over the values, in order';

CREATE FUNCTION pgml.digest_rows(query text)
    RETURNS TABLE (column_name text, type_oid oid, row_count bigint, null_count bigint, sha256 text)
    LANGUAGE sql STABLE PARALLEL UNSAFE COST 100000 ROWS 10
BEGIN ATOMIC
    SELECT d.column_name, d.type_oid, d.row_count, d.null_count, d.sha256 FROM pgml.row_digest AS d
    WHERE d.query = digest_rows.query;
END;
COMMENT ON FUNCTION pgml.digest_rows(text) IS
    'sends the rows of a query to the server and returns a digest per column of what arrived';
GRANT SELECT ON pgml.row_digest TO pgml_user;
GRANT EXECUTE ON FUNCTION pgml.digest_rows(text) TO pgml_user;
