-- The registry as files on the database's host, a CSV per table, as PostgresML writes them.
--
-- Server-side COPY, in the caller's rights: pg_write_server_files and pg_read_server_files, or
-- superuser. A dump that silently lacks rows of others would be no copy: so only who sees all
-- rows may write one. A file is read by the names in its first line, which lets files from
-- PostgresML in, though their models cannot predict here.
CREATE FUNCTION pgml.registry_tables() RETURNS name[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT '{projects,snapshots,models,files,deployments}'::name[];
END;
COMMENT ON FUNCTION pgml.registry_tables() IS 'the tables of dump_all and load_all, each after those that it needs';

CREATE FUNCTION pgml.dump_all(path text) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dumped name;
BEGIN
    IF row_security_active('pgml.projects') AND NOT pg_has_role('pgml_admin', 'USAGE') THEN
        RAISE EXCEPTION 'role % does not see all rows of the registry', quote_ident(CURRENT_USER)
            USING ERRCODE = 'insufficient_privilege', HINT = 'a superuser dumps it, or a member of pgml_admin';
    END IF;
    FOREACH dumped IN ARRAY pgml.registry_tables() LOOP
        EXECUTE format('COPY pgml.%I TO %L WITH (FORMAT csv, HEADER)', dumped, format('%s/%s.csv', dump_all.path, dumped));
    END LOOP;
END
$$;
COMMENT ON FUNCTION pgml.dump_all(text) IS
    'writes the registry into a folder of the database''s host: projects.csv, snapshots.csv, models.csv, files.csv, deployments.csv';

CREATE FUNCTION pgml.load_all(path text) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    loaded name;
    file text;
    header text[];
BEGIN
    FOREACH loaded IN ARRAY pgml.registry_tables() LOOP
        file := format('%s/%s.csv', load_all.path, loaded);
        header := string_to_array(regexp_replace(split_part(pg_read_file(file, 0, 8192), E'\n', 1), '[\r"]', '', 'g'), ',');
        EXECUTE format('COPY pgml.%I (%s) FROM %L WITH (FORMAT csv, HEADER)', loaded,
                       (SELECT string_agg(quote_ident(h.name), ', ' ORDER BY h.ordinality)
                        FROM unnest(header) WITH ORDINALITY AS h (name, ordinality)), file);
        EXECUTE format('SELECT setval(%L, greatest((SELECT max(id) FROM pgml.%I), (SELECT last_value FROM pgml.%I)))',
                       format('pgml.%I', loaded || '_id_seq'), loaded, loaded || '_id_seq');
    END LOOP;
END
$$;
COMMENT ON FUNCTION pgml.load_all(text) IS
    'reads what pgml.dump_all wrote, here or in PostgresML; ids that are there already are an error';

GRANT EXECUTE ON FUNCTION pgml.registry_tables(), pgml.dump_all(text), pgml.load_all(text) TO pgml_admin;
