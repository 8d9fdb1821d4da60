//! What `tracing` says of spans.

use std::sync::Arc;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::queue::Queue;
use crate::step::{Fields, Step};

/// How the name of an event begins that was given none.
const UNNAMED: &str = "event ";

/// Turns spans into steps; see the [crate](crate).
#[derive(Debug)]
pub struct StepLayer {
    queue: Arc<Queue>,
    max_step_bytes: usize,
}

impl StepLayer {
    pub(crate) const fn new(queue: Arc<Queue>, max_step_bytes: usize) -> Self {
        Self { queue, max_step_bytes }
    }

    /// The values are formatted before anything is locked: what formats them may itself say something through `tracing`.
    fn fields(&self, record: impl FnOnce(&mut Fields)) -> Fields {
        let mut fields = Fields::new(self.max_step_bytes);
        record(&mut fields);
        fields
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for StepLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| parent.extensions().get::<Step>().map(Step::key));
        let mut step = Step::begin(attributes.metadata(), parent, self.max_step_bytes);
        step.add(self.fields(|fields| attributes.record(fields)));
        span.extensions_mut().replace(step);
        self.queue.open();
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let fields = self.fields(|fields| values.record(fields));
        if let Some(step) = span.extensions_mut().get_mut::<Step>() {
            step.add(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (name, has_failed) = (event.metadata().name(), *event.metadata().level() == Level::ERROR);
        let is_named = !name.starts_with(UNNAMED);
        if !is_named && !has_failed {
            return;
        }
        let Some(span) = context.event_span(event) else { return };
        let fields = self.fields(|fields| event.record(fields));
        if let Some(step) = span.extensions_mut().get_mut::<Step>() {
            if has_failed {
                step.fail(fields.message());
            }
            if is_named {
                step.event(name, fields);
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let step = span.extensions_mut().remove::<Step>();
        let Some(mut step) = step else { return };
        // What carried a call is around it, and so is what asked the model.
        if let (Some(call), Some(parent)) = (step.carried(), span.parent())
            && let Some(parent) = parent.extensions_mut().get_mut::<Step>()
        {
            parent.around(call);
        }
        step.end();
        self.queue.put(step);
    }
}
