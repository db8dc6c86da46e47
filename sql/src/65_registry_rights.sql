-- Who may see and change which rows of the registry.
--
-- A row is its owner's: roles with the rights of the owner, and pgml_admin, read and write it.
-- Others read what pgml.model_grants lets them use. A child is written only under a parent
-- that one may write, for a foreign key looks past these policies. Nobody but a superuser
-- chooses an id or changes an artifact: the columns of INSERT and UPDATE are listed.
ALTER TABLE pgml.projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgml.snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgml.models ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgml.deployments ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgml.files ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgml.logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE pgml.model_grants ENABLE ROW LEVEL SECURITY;

CREATE POLICY own ON pgml.projects
    USING (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'));
CREATE POLICY granted ON pgml.projects FOR SELECT
    USING (EXISTS (SELECT FROM pgml.model_grants AS g WHERE g.project_id = projects.id
                   AND (g.grantee = 0::oid OR pg_has_role(g.grantee, 'USAGE'))));

CREATE POLICY own ON pgml.snapshots
    USING (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'));
-- A model shows the snapshot that it names only where its owner could see that one anyway.
CREATE POLICY granted ON pgml.snapshots FOR SELECT
    USING (EXISTS (SELECT FROM pgml.models AS m WHERE m.snapshot_id = snapshots.id
                   AND (pg_has_role(m.owner, snapshots.owner, 'USAGE') OR pg_has_role(m.owner, 'pgml_admin', 'USAGE'))));

CREATE POLICY own ON pgml.models
    USING (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))
    WITH CHECK (
        (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))
        AND EXISTS (SELECT FROM pgml.projects AS p WHERE p.id = models.project_id
                    AND (pg_has_role(p.owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))));
CREATE POLICY granted ON pgml.models FOR SELECT
    USING (EXISTS (SELECT FROM pgml.model_grants AS g WHERE g.project_id = models.project_id
                   AND (g.grantee = 0::oid OR pg_has_role(g.grantee, 'USAGE'))));

CREATE POLICY own ON pgml.deployments
    USING (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))
    WITH CHECK (
        (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))
        AND EXISTS (SELECT FROM pgml.projects AS p WHERE p.id = deployments.project_id
                    AND (pg_has_role(p.owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE')))
        AND EXISTS (SELECT FROM pgml.models AS m
                    WHERE m.id = deployments.model_id AND m.project_id = deployments.project_id));
CREATE POLICY granted ON pgml.deployments FOR SELECT
    USING (EXISTS (SELECT FROM pgml.projects AS p WHERE p.id = deployments.project_id));

CREATE POLICY own ON pgml.files
    USING (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))
    WITH CHECK (
        (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))
        AND EXISTS (SELECT FROM pgml.models AS m WHERE m.id = files.model_id
                    AND (pg_has_role(m.owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))));
CREATE POLICY granted ON pgml.files FOR SELECT
    USING (EXISTS (SELECT FROM pgml.models AS m WHERE m.id = files.model_id));

CREATE POLICY own ON pgml.logs
    USING (EXISTS (SELECT FROM pgml.projects AS p WHERE p.id = logs.project_id
                   AND (pg_has_role(p.owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))));

-- The other tables' policies read this one: what they read it by has no sub-select, else it
-- would be a recursion.
CREATE POLICY own ON pgml.model_grants FOR SELECT
    USING (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'));
CREATE POLICY revoke ON pgml.model_grants FOR DELETE
    USING (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'));
CREATE POLICY give ON pgml.model_grants FOR INSERT
    WITH CHECK (
        EXISTS (SELECT FROM pgml.projects AS p WHERE p.id = model_grants.project_id
                AND p.owner = model_grants.owner
                AND (pg_has_role(p.owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))));
CREATE POLICY granted ON pgml.model_grants FOR SELECT
    USING (grantee = 0::oid OR pg_has_role(grantee, 'USAGE'));

GRANT SELECT ON pgml.projects, pgml.snapshots, pgml.models, pgml.deployments, pgml.files, pgml.logs TO pgml_user;
GRANT DELETE ON pgml.projects, pgml.snapshots, pgml.models, pgml.deployments, pgml.files, pgml.logs TO pgml_trainer;
GRANT USAGE ON SEQUENCE pgml.projects_id_seq, pgml.snapshots_id_seq, pgml.models_id_seq,
    pgml.deployments_id_seq, pgml.files_id_seq, pgml.logs_id_seq TO pgml_trainer;
GRANT INSERT (name, task, owner, created_at, updated_at),
    UPDATE (name, task, owner, updated_at, serving, serving_model) ON pgml.projects TO pgml_trainer;
GRANT INSERT (relation_name, y_column_name, test_size, test_sampling, status, columns, analysis,
              materialized, owner, created_at, updated_at),
    UPDATE (status, columns, analysis, owner, updated_at) ON pgml.snapshots TO pgml_trainer;
GRANT INSERT (project_id, snapshot_id, num_features, algorithm, runtime, hyperparams, status, metrics, search,
              search_params, search_args, owner, artifact, rows, rows_sha256, seed, versions, reason,
              created_at, updated_at),
    UPDATE (status, metrics, hyperparams, reason, owner, updated_at) ON pgml.models TO pgml_trainer;
GRANT INSERT (project_id, model_id, strategy, owner) ON pgml.deployments TO pgml_trainer;
GRANT INSERT (model_id, path, part, data, owner, created_at, updated_at) ON pgml.files TO pgml_trainer;
GRANT INSERT (model_id, project_id, created_at, logs) ON pgml.logs TO pgml_trainer;
