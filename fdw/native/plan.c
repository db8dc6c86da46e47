/*
 * plan.c: paths over a foreign table, and the plan of the one chosen.
 *
 * A table whose inputs come from its own clauses has one plain path. Where a required input
 * comes from a join, the paths are parameterized by the relations that supply it, so that
 * LATERAL and nested loops call once per outer row. If no such path can be used there is
 * still a fallback, dearer than any other plan, that raises at execution and says why:
 * a full scan does not exist here.
 */
#include "annex.h"

#include "access/sysattr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/selfuncs.h"

/* A request costs about as much as reading hundreds of pages; a row of one, some pages. */
#define COST_PER_REQUEST 1000.0
#define COST_PER_ROW 100.0
#define COST_FALLBACK 1.0e30
#define FALLBACK_DISABLED_NODES 1000
#define QUERY_ROWS 1000.0
#define MAX_PATHS 16

typedef struct RelState
{
	AnnexTable *table;
	AnnexInputs inputs;			/* from the relation's own clauses */
	AttrNumber	waits_for;		/* an optional input that only a join supplies */
} RelState;

typedef struct ColumnMatch
{
	RelOptInfo *rel;
	AttrNumber	attnum;
} ColumnMatch;

static void
release_table(void *arg)
{
	annex_table_release((AnnexTable *) arg);
}

/* A description that stays valid until the planner's memory goes. */
static AnnexTable *
table_for_planning(Oid relid)
{
	AnnexTable *table = annex_table(relid);
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	callback->func = release_table;
	callback->arg = table;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return table;
}

static double
estimate_rows(PlannerInfo *root, AnnexTable *table, AnnexInputs *inputs)
{
	if (table->query != InvalidAttrNumber)
		return QUERY_ROWS;
	if (inputs->batch == InvalidAttrNumber)
		return 1;
#if PG_VERSION_NUM >= 170000
	return Max(1, estimate_array_length(root, (Node *) inputs->values[inputs->batch - 1]));
#else
	(void) root;
	return Max(1, estimate_array_length((Node *) inputs->values[inputs->batch - 1]));
#endif
}

void
annex_rel_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	RelState   *state = palloc0(sizeof(RelState));

	state->table = table_for_planning(relid);
	annex_find_inputs(root, rel, state->table, extract_actual_clauses(rel->baserestrictinfo, false),
					  &state->inputs);
	rel->fdw_private = state;
	rel->rows = estimate_rows(root, state->table, &state->inputs);
	rel->tuples = rel->rows;
}

static void
add_scan_path(PlannerInfo *root, RelOptInfo *rel, Relids outer, bool fallback)
{
	double		rows = fallback ? 1 : rel->rows;
	Cost		startup = fallback ? COST_FALLBACK : COST_PER_REQUEST;
	Cost		total = startup + COST_PER_ROW * rows;

	add_path(rel, (Path *) create_foreignscan_path(root, rel, NULL, rows,
#if PG_VERSION_NUM >= 180000
												   fallback ? FALLBACK_DISABLED_NODES : 0,
#endif
												   startup, total, NIL, outer, NULL,
#if PG_VERSION_NUM >= 170000
												   NIL,
#endif
												   fallback ? list_make1_int(1) : NIL));
}

/* Does an equivalence member stand for the column that we look for? */
static bool
member_is_column(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec, EquivalenceMember *em,
				 void *arg)
{
	ColumnMatch *match = arg;
	Node	   *node = (Node *) em->em_expr;

	(void) root;
	(void) rel;
	(void) ec;
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node != NULL && IsA(node, Var) &&
		bms_is_member(((Var *) node)->varno, match->rel->relids) &&
		((Var *) node)->varattno == match->attnum;
}

/* The sets of outer relations any of which supplies `attnum` by a usable join clause. */
static List *
suppliers(PlannerInfo *root, RelOptInfo *rel, AnnexTable *table, AttrNumber attnum)
{
	ColumnMatch match = {rel, attnum};
	List	   *clauses = NIL;
	List	   *found = NIL;
	ListCell   *cell;

	if (rel->has_eclass_joins)
		clauses = generate_implied_equalities_for_column(root, rel, member_is_column, &match,
														 rel->lateral_referencers);
	clauses = list_concat(clauses, rel->joininfo);
	foreach(cell, clauses)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, cell);
		Expr	   *value;
		bool		any;
		Relids		outer;

		if (rinfo->pseudoconstant || !join_clause_is_movable_to(rinfo, rel) ||
			annex_input_of_clause(root, rel, table, rinfo->clause, &any, &value) != attnum)
			continue;
		if (any && (!table->columns[attnum - 1].batch || table->query != InvalidAttrNumber))
			continue;
		outer = bms_difference(rinfo->clause_relids, rel->relids);
		if (!bms_is_empty(outer))
			found = lappend(found, outer);
	}
	return found;
}

static List *
add_relids(List *sets, Relids relids)
{
	ListCell   *cell;

	foreach(cell, sets)
	{
		if (bms_equal(lfirst(cell), relids))
			return sets;
	}
	return list_length(sets) < MAX_PATHS ? lappend(sets, relids) : sets;
}

/* All ways to supply one more column on top of each set in `sets`. */
static List *
combine(List *sets, List *found)
{
	List	   *result = NIL;
	ListCell   *set;
	ListCell   *cell;

	foreach(set, sets)
	{
		foreach(cell, found)
			result = add_relids(result, bms_union(lfirst(set), lfirst(cell)));
	}
	return result;
}

/*
 * The sets of outer relations that supply every column still without a value. NIL where a
 * required one has no supplier. An optional input that a join could supply is waited for
 * too, else its plan would decide whether it is sent.
 */
static List *
outer_sets(PlannerInfo *root, RelOptInfo *rel, RelState *state)
{
	List	   *sets = list_make1(bms_copy(rel->lateral_relids));
	int			i;

	for (i = 0; i < state->table->natts && sets != NIL; i++)
	{
		AnnexInput	input = state->table->columns[i].input;
		List	   *found;

		if (input == INPUT_NONE || state->inputs.values[i] != NULL)
			continue;
		found = suppliers(root, rel, state->table, i + 1);
		if (found == NIL && input == INPUT_OPTIONAL)
			continue;
		sets = combine(sets, found);
		if (state->waits_for == InvalidAttrNumber)
			state->waits_for = i + 1;
	}
	return sets;
}

void
annex_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	List	   *sets = outer_sets(root, rel, rel->fdw_private);
	bool		plain = false;
	ListCell   *cell;

	(void) relid;
	foreach(cell, sets)
	{
		plain |= bms_equal(lfirst(cell), rel->lateral_relids);
		add_scan_path(root, rel, lfirst(cell), false);
	}
	if (!plain)
		add_scan_path(root, rel, rel->lateral_relids, true);
}

/* The outputs that the query looks at: its target list and the clauses left to filter. */
static List *
wanted_outputs(RelOptInfo *rel, AnnexTable *table, List *local)
{
	Bitmapset  *used = NULL;
	List	   *outputs = NIL;
	bool		whole_row;
	int			i;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &used);
	pull_varattnos((Node *) local, rel->relid, &used);
	whole_row = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, used);
	for (i = 1; i <= table->natts; i++)
	{
		AnnexColumn *column = &table->columns[i - 1];

		if (column->dropped || column->input != INPUT_NONE || i == table->ordinal)
			continue;
		if (whole_row || bms_is_member(i - FirstLowInvalidHeapAttributeNumber, used))
			outputs = lappend_int(outputs, i);
	}
	return outputs;
}

ForeignScan *
annex_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path, List *tlist,
		   List *clauses, Plan *outer)
{
	RelState   *state = rel->fdw_private;
	AnnexInputs inputs;
	List	   *attnums = NIL;
	List	   *values = NIL;
	int			i;

	(void) relid;
	annex_find_inputs(root, rel, state->table, extract_actual_clauses(clauses, false), &inputs);
	if (path->fdw_private != NIL && inputs.missing == InvalidAttrNumber)
	{
		inputs.missing = state->waits_for;
		inputs.lack = LACK_VALUE;
	}
	for (i = 0; i < state->table->natts; i++)
	{
		if (inputs.values[i] == NULL)
			continue;
		attnums = lappend_int(attnums, i + 1);
		values = lappend(values, inputs.values[i]);
	}
	return make_foreignscan(tlist, inputs.local, rel->relid, values,
							list_make3(attnums, wanted_outputs(rel, state->table, inputs.local),
									   list_make3_int(inputs.batch, inputs.missing, inputs.lack)),
							NIL, inputs.consumed, outer);
}
