//! The function behind the view `tokens`.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, ListArray, StringArray, StructArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::cast::{as_binary_array, as_string_array};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use onrecord_capture::{Candidate, StoredDecisions, Token};

/// `token_decisions(dialect, logprobs, times, body, content_encoding, messages) -> list`: every token of an answer whose
/// id or decision is known. What has the decisions is told by [`StoredDecisions`].
pub(super) fn function() -> ScalarUDF {
    let arguments =
        [DataType::Utf8, DataType::Binary, DataType::Binary, DataType::Binary, DataType::Utf8, DataType::Binary];
    ScalarUDF::from(TokenDecisions { signature: Signature::exact(arguments.to_vec(), Volatility::Immutable) })
}

static CANDIDATE: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("logprob", DataType::Float64, true),
    ])
});

static TOKEN: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("choice", DataType::Int64, true),
        Field::new("position", DataType::Int64, true),
        Field::new("id", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("bytes", DataType::Binary, true),
        Field::new("logprob", DataType::Float64, true),
        Field::new("entropy", DataType::Float64, true),
        Field::new("margin", DataType::Float64, true),
        Field::new("time_us", DataType::Int64, true),
        Field::new("alternatives", DataType::List(item(&CANDIDATE)), true),
    ])
});

fn item(fields: &Fields) -> FieldRef {
    Arc::new(Field::new("item", DataType::Struct(fields.clone()), true))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TokenDecisions {
    signature: Signature,
}

impl ScalarUDFImpl for TokenDecisions {
    fn name(&self) -> &'static str {
        "token_decisions"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item(&TOKEN)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [dialects, logprobs, times, bodies, encodings, messages] = &columns[..] else {
            return Err(DataFusionError::Plan("token_decisions takes six columns".into()));
        };
        let (dialects, encodings) = (as_string_array(dialects)?, as_string_array(encodings)?);
        let [logprobs, times, bodies, messages] =
            [logprobs, times, bodies, messages].map(|column| as_binary_array(column));
        let (logprobs, times, bodies, messages) = (logprobs?, times?, bodies?, messages?);
        let rows = dialects.iter().zip(logprobs).zip(times).zip(bodies).zip(encodings).zip(messages);
        let tokens = rows.map(|(((((dialect, logprobs), times), body), encoding), messages)| {
            let dialect = dialect.unwrap_or_default();
            StoredDecisions { dialect, logprobs, times, body, encoding, messages }.tokens()
        });
        Ok(ColumnarValue::Array(lists(&tokens.collect::<Vec<_>>(), &TOKEN, token_columns)))
    }
}

/// A list for each row, of structures with these fields.
fn lists<T>(rows: &[Vec<T>], fields: &Fields, columns: impl Fn(&[&T]) -> Vec<ArrayRef>) -> ArrayRef {
    let all: Vec<&T> = rows.iter().flatten().collect();
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(Vec::len));
    let items = StructArray::new(fields.clone(), columns(&all), None);
    Arc::new(ListArray::new(item(fields), offsets, Arc::new(items), None))
}

fn token_columns(tokens: &[&Token]) -> Vec<ArrayRef> {
    let ints = |of: &dyn Fn(&Token) -> Option<i64>| -> ArrayRef {
        Arc::new(tokens.iter().map(|token| of(token)).collect::<Int64Array>())
    };
    let floats = |of: &dyn Fn(&Token) -> Option<f64>| -> ArrayRef {
        Arc::new(tokens.iter().map(|token| of(token)).collect::<Float64Array>())
    };
    let alternatives: Vec<_> = tokens.iter().map(|token| token.alternatives.iter().collect()).collect();
    vec![
        ints(&|token| i64::try_from(token.choice).ok()),
        ints(&|token| i64::try_from(token.position).ok()),
        ints(&|token| token.chosen.id),
        Arc::new(tokens.iter().map(|token| text(&token.chosen)).collect::<StringArray>()),
        Arc::new(tokens.iter().map(|token| token.chosen.bytes.as_deref()).collect::<BinaryArray>()),
        floats(&|token| token.chosen.logprob),
        floats(&Token::entropy),
        floats(&Token::margin),
        ints(&|token| token.time_us),
        lists(&alternatives, &CANDIDATE, candidate_columns),
    ]
}

fn candidate_columns(candidates: &[&&Candidate]) -> Vec<ArrayRef> {
    vec![
        Arc::new(candidates.iter().map(|candidate| candidate.id).collect::<Int64Array>()),
        Arc::new(candidates.iter().map(|candidate| text(candidate)).collect::<StringArray>()),
        Arc::new(candidates.iter().map(|candidate| candidate.logprob).collect::<Float64Array>()),
    ]
}

/// The text of a token, unless the server told its number alone.
fn text(candidate: &Candidate) -> Option<&str> {
    Some(candidate.text.as_str()).filter(|text| !text.is_empty() || candidate.id.is_none())
}
