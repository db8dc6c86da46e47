-- The host keeps what the gate answered. Where rows change that the gate reads, every backend
-- forgets it: this one after the statement, the others after the commit, a standby too.
-- A new grant needs no such thing, for a refusal is never kept.
CREATE FUNCTION pgml.rights_changed() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgml_rights_changed';
COMMENT ON FUNCTION pgml.rights_changed() IS
    'trigger: makes the hosts forget which models a role may use';

CREATE TRIGGER model_grants_rights AFTER UPDATE OR DELETE OR TRUNCATE ON pgml.model_grants
    FOR EACH STATEMENT EXECUTE FUNCTION pgml.rights_changed('pgml.model_grants');
COMMENT ON TRIGGER model_grants_rights ON pgml.model_grants IS 'a right that was taken back counts no more';
CREATE TRIGGER models_rights AFTER UPDATE OF owner, project_id, artifact OR DELETE OR TRUNCATE ON pgml.models
    FOR EACH STATEMENT EXECUTE FUNCTION pgml.rights_changed('pgml.model_grants');
COMMENT ON TRIGGER models_rights ON pgml.models IS 'a model that is gone, or another role''s, may be used no more';
