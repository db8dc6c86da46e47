/*
 * error.c: errors and notices of the wire as errors and notices of Postgres.
 *
 * The server decides SQLSTATE, message, detail and hint; its stable code goes into the
 * detail, where clients of both hosts look for it. A text that the database's encoding
 * cannot hold must not hide the error, so its characters are replaced where data's would
 * raise.
 */
#include "annex.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

/* Overwrite what is not ASCII; the text is on its way to a person. */
static void
keep_ascii(char *text)
{
	for (; *text != '\0'; text++)
	{
		if (IS_HIGHBIT_SET(*text))
			*text = '?';
	}
}

/* A text of the wire as a C string in the database's encoding; never raises over its bytes. */
char *
annex_text(FrameText text)
{
	char	   *copy = pnstrdup(text.data, text.len);
	int			len = strlen(copy);
	int			encoding = GetDatabaseEncoding();
	char	   *converted;
	Oid			proc;

	if (pg_encoding_verifymbstr(PG_UTF8, copy, len) != len)
		keep_ascii(copy);
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return copy;
	proc = IsTransactionState() ? FindDefaultConversionProc(PG_UTF8, encoding) : InvalidOid;
	if (!OidIsValid(proc))
	{
		keep_ascii(copy);
		return copy;
	}
	converted = palloc((Size) len * MAX_CONVERSION_GROWTH + 1);
	if (pg_do_encoding_conversion_buf(proc, PG_UTF8, encoding, (unsigned char *) copy, len,
									  (unsigned char *) converted,
									  len * MAX_CONVERSION_GROWTH + 1, true) == len)
		return converted;
	keep_ascii(copy);
	return copy;
}

/* The SQLSTATE of an ERROR frame; what is none, or is a success class, becomes XX000. */
static int
sqlstate_of(FrameText state)
{
	uint32		i;

	if (state.len != 5 || (state.data[0] == '0' && strchr("012", state.data[1]) != NULL))
		return ERRCODE_INTERNAL_ERROR;
	for (i = 0; i < 5; i++)
	{
		char		c = state.data[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z'))
			return ERRCODE_INTERNAL_ERROR;
	}
	return MAKE_SQLSTATE(state.data[0], state.data[1], state.data[2], state.data[3],
						 state.data[4]);
}

/* Raise what an ERROR frame says. The connection is already given up. */
void
annex_raise(const FrameError *error)
{
	char	   *message = annex_text(error->message);
	char	   *code = annex_text(error->code);
	char	   *detail = annex_text(error->detail);
	char	   *hint = annex_text(error->hint);

	ereport(ERROR,
			(errcode(sqlstate_of(error->sqlstate)),
			 errmsg_internal("%s", message),
			 detail[0] != '\0' ? errdetail_internal("code: %s\n%s", code, detail)
			 : errdetail_internal("code: %s", code),
			 hint[0] != '\0' ? errhint("%s", hint) : 0));
}

/* Pass a NOTICE frame on at its level. */
void
annex_notice(const FrameNotice *notice)
{
	static const int levels[] = {DEBUG1, INFO, NOTICE, WARNING};
	char	   *detail = annex_text(notice->detail);
	char	   *hint = annex_text(notice->hint);

	ereport(levels[notice->level <= 3 ? notice->level : 3],
			(errmsg_internal("%s", annex_text(notice->message)),
			 detail[0] != '\0' ? errdetail_internal("%s", detail) : 0,
			 hint[0] != '\0' ? errhint("%s", hint) : 0));
}

/* The server broke the protocol: nothing more can be read from this connection. */
void
annex_protocol_error(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the pgannex server sent what this end does not understand: %s", what),
			 errdetail("code: protocol_violation"),
			 errhint("server and extension may be of different versions: see pgannex doctor")));
}
