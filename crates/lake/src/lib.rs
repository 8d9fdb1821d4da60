//! Records as a Delta table: sealing, hot and sealed rows, SQL.
