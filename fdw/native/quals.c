/*
 * quals.c: which clauses of a query give a foreign table its inputs.
 *
 * A clause counts if it is `column = value` or `column = ANY (array)` with the default
 * equality of the column's type, and the value can be computed without this relation and
 * without volatile functions. All other clauses filter what comes back. plan.c asks twice:
 * for the clauses of the relation itself, and once a path has brought join clauses in.
 */
#include "annex.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

/* The number of the input column that an expression is; 0 for anything else. */
static AttrNumber
input_column(RelOptInfo *rel, AnnexTable *table, Node *node)
{
	Var		   *var;

	/* A varchar column is compared as text. */
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	if (node == NULL || !IsA(node, Var))
		return InvalidAttrNumber;
	var = (Var *) node;
	if (!bms_is_member(var->varno, rel->relids) || var->varlevelsup != 0 ||
		var->varattno < 1 || var->varattno > table->natts ||
		table->columns[var->varattno - 1].input == INPUT_NONE)
		return InvalidAttrNumber;
	return var->varattno;
}

/* Can the expression be computed before this relation is read, once for a whole scan? */
static bool
is_given(PlannerInfo *root, RelOptInfo *rel, Node *value)
{
	return !bms_overlap(pull_varnos(root, value), rel->relids) && !contain_volatile_functions(value);
}

static bool
is_default_equality(Oid opno, Oid type)
{
	return opno == lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
}

static AttrNumber
match_equal(PlannerInfo *root, RelOptInfo *rel, AnnexTable *table, OpExpr *op, Expr **value)
{
	Node	   *left;
	Node	   *right;
	AttrNumber	attnum;

	if (list_length(op->args) != 2)
		return InvalidAttrNumber;
	left = linitial(op->args);
	right = lsecond(op->args);
	attnum = input_column(rel, table, left);
	if (attnum == InvalidAttrNumber || !is_given(root, rel, right))
	{
		attnum = input_column(rel, table, right);
		if (attnum == InvalidAttrNumber || !is_given(root, rel, left))
			return InvalidAttrNumber;
		right = left;
	}
	if (!is_default_equality(op->opno, table->columns[attnum - 1].type))
		return InvalidAttrNumber;
	*value = (Expr *) right;
	return attnum;
}

static AttrNumber
match_any(PlannerInfo *root, RelOptInfo *rel, AnnexTable *table, ScalarArrayOpExpr *op,
		  Expr **value)
{
	AttrNumber	attnum = input_column(rel, table, linitial(op->args));

	if (!op->useOr || attnum == InvalidAttrNumber || !is_given(root, rel, lsecond(op->args)) ||
		!is_default_equality(op->opno, table->columns[attnum - 1].type))
		return InvalidAttrNumber;
	*value = lsecond(op->args);
	return attnum;
}

/* The planner turns `flag = true` into `flag`, and `flag = false` into `NOT flag`. */
static AttrNumber
match_bool(RelOptInfo *rel, AnnexTable *table, Expr *clause, Expr **value)
{
	bool		negated = is_notclause(clause);
	AttrNumber	attnum = input_column(rel, table, negated ? (Node *) get_notclausearg(clause)
									  : (Node *) clause);

	if (attnum == InvalidAttrNumber || table->columns[attnum - 1].type != BOOLOID)
		return InvalidAttrNumber;
	*value = (Expr *) makeBoolConst(!negated, false);
	return attnum;
}

/* The number of the input column to which `clause` gives a value; 0 where it gives none. */
AttrNumber
annex_input_of_clause(PlannerInfo *root, RelOptInfo *rel, AnnexTable *table, Expr *clause,
					  bool *any, Expr **value)
{
	*any = false;
	if (IsA(clause, OpExpr))
		return match_equal(root, rel, table, (OpExpr *) clause, value);
	if (IsA(clause, ScalarArrayOpExpr))
	{
		*any = true;
		return match_any(root, rel, table, (ScalarArrayOpExpr *) clause, value);
	}
	return match_bool(rel, table, clause, value);
}

/* Take what `=` gives; of several for one column the first counts, the rest filter. */
static void
take_scalars(PlannerInfo *root, RelOptInfo *rel, AnnexTable *table, List *clauses,
			 AnnexInputs *inputs)
{
	ListCell   *cell;

	foreach(cell, clauses)
	{
		Expr	   *clause = (Expr *) lfirst(cell);
		Expr	   *value;
		bool		any;
		AttrNumber	attnum = annex_input_of_clause(root, rel, table, clause, &any, &value);

		if (attnum != InvalidAttrNumber && !any && inputs->values[attnum - 1] == NULL)
		{
			inputs->values[attnum - 1] = value;
			inputs->consumed = lappend(inputs->consumed, clause);
		}
		else
			inputs->local = lappend(inputs->local, clause);
	}
}

static void
report_lack(AnnexInputs *inputs, AttrNumber attnum, AnnexLack lack)
{
	if (inputs->missing != InvalidAttrNumber)
		return;
	inputs->missing = attnum;
	inputs->lack = lack;
}

/*
 * Take one `= ANY`, for a required column if there is one. A column that has only a second
 * one would silently be left out of the request, so it counts as missing.
 */
static void
take_batch(PlannerInfo *root, RelOptInfo *rel, AnnexTable *table, AnnexInputs *inputs,
		   AnnexInput wanted)
{
	List	   *rest = NIL;
	ListCell   *cell;

	foreach(cell, inputs->local)
	{
		Expr	   *clause = (Expr *) lfirst(cell);
		Expr	   *value;
		bool		any;
		AttrNumber	attnum = annex_input_of_clause(root, rel, table, clause, &any, &value);

		if (attnum == InvalidAttrNumber || !any || inputs->values[attnum - 1] != NULL ||
			table->columns[attnum - 1].input != wanted)
			rest = lappend(rest, clause);
		else if (!table->columns[attnum - 1].batch || table->query != InvalidAttrNumber)
			report_lack(inputs, attnum, LACK_SCALAR);
		else if (inputs->batch != InvalidAttrNumber)
			report_lack(inputs, attnum, LACK_SECOND_BATCH);
		else
		{
			inputs->batch = attnum;
			inputs->values[attnum - 1] = value;
			inputs->consumed = lappend(inputs->consumed, clause);
		}
	}
	inputs->local = rest;
}

/* Sort `clauses` (without RestrictInfo) into inputs and filters. */
void
annex_find_inputs(PlannerInfo *root, RelOptInfo *rel, AnnexTable *table, List *clauses,
				  AnnexInputs *inputs)
{
	int			i;

	memset(inputs, 0, sizeof(*inputs));
	inputs->values = palloc0(sizeof(Expr *) * Max(table->natts, 1));
	take_scalars(root, rel, table, clauses, inputs);
	take_batch(root, rel, table, inputs, INPUT_REQUIRED);
	take_batch(root, rel, table, inputs, INPUT_OPTIONAL);
	for (i = 0; i < table->natts; i++)
	{
		if (table->columns[i].input == INPUT_REQUIRED && inputs->values[i] == NULL)
			report_lack(inputs, i + 1, LACK_VALUE);
	}
}
