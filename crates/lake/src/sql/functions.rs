//! Functions for what a record has in parts: bodies, references, tags.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::cast::{as_list_array, as_map_array, as_string_array, as_struct_array};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::row::join_body;
use crate::schema::{body_type, refs_fields};

/// The function that asks for a tag.
pub(crate) const HAS_TAG: &str = "has_tag";

/// `body(pieces) -> binary`: the exact bytes. `body_text(pieces) -> text`: the same as text, in which what is not UTF-8
/// is replaced.
///
/// `refers_to(refs, relation) -> text`: the id of the first record that is referred to in that way.
///
/// `has_tag(tags, key) -> boolean`, `has_tag(tags, key, value) -> boolean`: whether there is such a tag.
pub(super) fn functions() -> [ScalarUDF; 5] {
    let [body, text] = ["body", "body_text"].map(|name| {
        ScalarUDF::from(JoinBody {
            name,
            as_text: name == "body_text",
            signature: Signature::any(1, Volatility::Immutable),
        })
    });
    let refers_to = ScalarUDF::from(RefersTo { signature: Signature::any(2, Volatility::Immutable) });
    let has_tag = ScalarUDF::from(HasTag {
        signature: Signature::one_of(vec![TypeSignature::Any(2), TypeSignature::Any(3)], Volatility::Immutable),
    });
    [body, text, refers_to, has_tag, super::tokens::function()]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RefersTo {
    signature: Signature,
}

impl ScalarUDFImpl for RefersTo {
    fn name(&self) -> &'static str {
        "refers_to"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let refs =
            matches!(arguments, [DataType::List(item), _] if *item.data_type() == DataType::Struct(refs_fields()));
        if refs {
            return Ok(DataType::Utf8);
        }
        Err(DataFusionError::Plan(
            "refers_to takes the column refs and the name of a relation, such as 'config'".into(),
        ))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let relation = match &args.args[1] {
            ColumnarValue::Scalar(relation) => relation.try_as_str().flatten().unwrap_or_default().to_owned(),
            ColumnarValue::Array(_) => {
                return Err(DataFusionError::Execution("refers_to takes one relation for all rows".into()));
            }
        };
        let refs = args.args[0].to_array(args.number_rows)?;
        let refs = as_list_array(&refs)?;
        let found =
            (0..refs.len()).map(|row| refs.is_valid(row).then(|| first_ref(&refs.value(row), &relation)).flatten());
        Ok(ColumnarValue::Array(Arc::new(found.collect::<StringArray>())))
    }
}

fn first_ref(refs: &ArrayRef, relation: &str) -> Option<String> {
    let refs = as_struct_array(refs).ok()?;
    let (relations, ids) = (as_string_array(refs.column(0)).ok()?, as_string_array(refs.column(1)).ok()?);
    let at = (0..refs.len()).find(|at| relations.value(*at) == relation)?;
    Some(ids.value(at).to_owned())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HasTag {
    signature: Signature,
}

impl ScalarUDFImpl for HasTag {
    fn name(&self) -> &'static str {
        HAS_TAG
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let is_text = |argument: &DataType| {
            matches!(argument, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
        };
        match arguments {
            [DataType::Map(..), texts @ ..] if texts.iter().all(is_text) => Ok(DataType::Boolean),
            _ => {
                let problem = "has_tag takes the column tags, a key, and a value if that matters too, both as text";
                Err(DataFusionError::Plan(problem.into()))
            }
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let one = |argument: &ColumnarValue| match argument {
            ColumnarValue::Scalar(text) => text.try_as_str().flatten().map(|text| Ok(text.to_owned())).transpose(),
            ColumnarValue::Array(_) => {
                Err(DataFusionError::Execution("has_tag takes one key, and one value, for all rows".into()))
            }
        };
        let wanted = args.args[1..].iter().map(one).collect::<Result<Option<Vec<_>>>>()?;
        let Some(wanted) = wanted else { return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None))) };
        let tags = args.args[0].to_array(args.number_rows)?;
        let tags = as_map_array(&tags)?;
        let (keys, values) = (as_string_array(tags.keys())?, as_string_array(tags.values())?);
        let is = |at: usize| match &wanted[..] {
            [key] => keys.value(at) == key,
            [key, value] => keys.value(at) == key && values.is_valid(at) && values.value(at) == value,
            _ => false,
        };
        let entries = |row: usize| tags.value_offsets()[row] as usize..tags.value_offsets()[row + 1] as usize;
        let has = (0..tags.len()).map(|row| tags.is_valid(row).then(|| entries(row).any(is)));
        Ok(ColumnarValue::Array(Arc::new(has.collect::<BooleanArray>())))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinBody {
    name: &'static str,
    as_text: bool,
    signature: Signature,
}

impl ScalarUDFImpl for JoinBody {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Null] => {}
            [DataType::List(item)] if *item.data_type() == DataType::Binary => {}
            _ => {
                let problem = format!("{} takes a body column such as onrecord_input_body", self.name);
                return Err(DataFusionError::Plan(problem));
            }
        }
        Ok(if self.as_text { DataType::Utf8 } else { DataType::Binary })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bodies = args.args[0].to_array(args.number_rows)?;
        let bodies = if bodies.data_type().is_null() {
            datafusion::arrow::array::new_null_array(&body_type(), bodies.len())
        } else {
            bodies
        };
        let bodies = as_list_array(&bodies)?;
        let joined = (0..bodies.len()).map(|row| bodies.is_valid(row).then(|| join_body(bodies, row)));
        let joined: ArrayRef = if self.as_text {
            let text = joined.map(|body| body.map(lossy));
            Arc::new(text.collect::<StringArray>())
        } else {
            Arc::new(joined.collect::<BinaryArray>())
        };
        Ok(ColumnarValue::Array(joined))
    }
}

fn lossy(body: Vec<u8>) -> String {
    String::from_utf8(body).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}
