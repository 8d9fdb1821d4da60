//! Reading payload is on record too: who read what, with which statement, how much, and why.

use onrecord_proof::{Kind, Record, field};

use super::{Engine, new_record};

/// Somebody who reads.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The name of the token that was presented, or `anonymous`, or `local` for the command line on a stopped folder.
    pub principal: String,
    /// Where from.
    pub address: Option<String>,
    /// Why, as the reader says.
    pub purpose: Option<String>,
    /// The name that the reader gave, where there is one beside that of the token.
    pub user: Option<String>,
}

/// What was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access<'a> {
    /// `query`, `show`, `prove`.
    pub event: &'a str,
    /// The statement, or the id that was asked for.
    pub statement: &'a str,
}

impl Engine {
    /// Puts an access on record, durably, before its result is handed out. `rows` is how many rows it gave, where that is
    /// known by then.
    pub(crate) async fn accessed(
        &self,
        reading: &Reading,
        access: Access<'_>,
        rows: Option<i64>,
    ) -> anyhow::Result<()> {
        let mut record = Self::access_record(reading, access);
        if let Some(rows) = rows {
            record.set(&field::ACCESS_ROWS, rows);
        }
        self.ledger.append(&record)?.await?;
        Ok(())
    }

    /// The record of an access.
    pub(super) fn access_record(reading: &Reading, access: Access<'_>) -> Record {
        let mut record = new_record(Kind::Access);
        record.set(&field::PRINCIPAL, reading.principal.as_str());
        if let Some(address) = &reading.address {
            record.set(&field::CLIENT_ADDRESS, address.as_str());
        }
        if let Some(purpose) = &reading.purpose {
            record.set(&field::PURPOSE, purpose.as_str());
        }
        if let Some(user) = &reading.user {
            record.set(&field::USER_ID, user.as_str());
        }
        record.set(&field::EVENT, access.event);
        record.set(&field::STATEMENT, access.statement);
        record
    }
}
