"""Models of tables: fitted, described and served. Heavy libraries are imported only here."""
