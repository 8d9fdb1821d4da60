//! Wire dialects of model servers as parsers without I/O: bytes in, records out.
