-- Who may predict with the models of whose project, besides the owner.
--
-- A grant is on a project: on all its versions. The owner of the project stands in the row,
-- so that the policies of this table need no other and those of the others may read it.
CREATE TABLE pgml.model_grants (
    project_id bigint NOT NULL REFERENCES pgml.projects ON DELETE CASCADE,
    grantee regrole NOT NULL,
    owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER)::regrole,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project_id, grantee)
);
COMMENT ON TABLE pgml.model_grants IS 'which roles may use a project of another; made by pgml.grant_model';
COMMENT ON COLUMN pgml.model_grants.project_id IS 'the project';
COMMENT ON COLUMN pgml.model_grants.grantee IS 'the role that may use it; - is everybody (PUBLIC)';
COMMENT ON COLUMN pgml.model_grants.owner IS 'the role that granted it';
COMMENT ON COLUMN pgml.model_grants.created_at IS 'when it was granted';
SELECT pg_catalog.pg_extension_config_dump('pgml.model_grants', '');

CREATE FUNCTION pgml.role_of_grant(grantee text) RETURNS regrole
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_role regrole := CASE lower(role_of_grant.grantee) WHEN 'public' THEN 0::regrole
                               ELSE to_regrole(quote_ident(role_of_grant.grantee)) END;
BEGIN
    IF found_role IS NULL THEN
        RAISE EXCEPTION 'role "%" does not exist', role_of_grant.grantee
            USING ERRCODE = 'undefined_object', HINT = 'the name of a role as in pg_roles, or public for everybody';
    END IF;
    RETURN found_role;
END
$$;
COMMENT ON FUNCTION pgml.role_of_grant(text) IS 'the role of that name; public stands for everybody';
GRANT EXECUTE ON FUNCTION pgml.role_of_grant(text) TO pgml_trainer;

CREATE FUNCTION pgml.grant_model(model text, grantee text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    project pgml.projects := pgml.own_project(grant_model.model);
BEGIN
    INSERT INTO pgml.model_grants (project_id, grantee, owner)
        VALUES (project.id, pgml.role_of_grant(grant_model.grantee), project.owner)
        ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION pgml.grant_model(text, text) IS
    'lets a role, or public, use the models of a project of one''s own; false where it could already';

CREATE FUNCTION pgml.revoke_model(model text, grantee text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    project pgml.projects := pgml.own_project(revoke_model.model);
BEGIN
    DELETE FROM pgml.model_grants AS g
    WHERE g.project_id = project.id AND g.grantee = pgml.role_of_grant(revoke_model.grantee);
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION pgml.revoke_model(text, text) IS
    'takes back what pgml.grant_model gave, from the next statement on; false where there was nothing';

CREATE FUNCTION pgml.own_project(project_name text) RETURNS pgml.projects
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    project pgml.projects;
BEGIN
    SELECT p.* INTO project FROM pgml.projects AS p WHERE p.name = own_project.project_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Project named `%` does not exist.', own_project.project_name
            USING ERRCODE = 'undefined_object', HINT = 'projects that the role may see: SELECT name FROM pgml.projects';
    END IF;
    IF NOT (pg_has_role(project.owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE')
            OR NOT row_security_active('pgml.projects')) THEN
        RAISE EXCEPTION 'project `%` belongs to role %', own_project.project_name, project.owner
            USING ERRCODE = 'insufficient_privilege', HINT = 'only its owner and pgml_admin may change it';
    END IF;
    RETURN project;
END
$$;
COMMENT ON FUNCTION pgml.own_project(text) IS
    'the project of that name, if the current role may change it; else an error that says why';

GRANT SELECT ON pgml.model_grants TO pgml_user;
GRANT INSERT (project_id, grantee, owner), DELETE ON pgml.model_grants TO pgml_trainer;
GRANT EXECUTE ON FUNCTION pgml.grant_model(text, text), pgml.revoke_model(text, text), pgml.own_project(text)
    TO pgml_trainer;
