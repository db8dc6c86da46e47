-- What the doors that write or search a user's table ask of the catalogue.
CREATE FUNCTION pgml.column_type(relation regclass, column_name name) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    found_type pg_catalog.text;
BEGIN
    SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) INTO found_type
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid OPERATOR(pg_catalog.=) column_type.relation
      AND a.attname OPERATOR(pg_catalog.=) column_type.column_name
      AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'column "%" of % does not exist', column_type.column_name, column_type.relation
            USING ERRCODE = 'undefined_column',
                  HINT = pg_catalog.format('its columns: %s', (
                      SELECT pg_catalog.string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute AS a
                      WHERE a.attrelid OPERATOR(pg_catalog.=) column_type.relation
                        AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped));
    END IF;
    RETURN found_type;
END
$$;
COMMENT ON FUNCTION pgml.column_type(regclass, name) IS
    'the type of a column, as text that SQL can read; raises 42703 with the columns that there are';
GRANT EXECUTE ON FUNCTION pgml.column_type(regclass, name) TO pgml_user;
