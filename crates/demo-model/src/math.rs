//! The few kernels of the forward pass, on plain f32 slices, written so that the compiler vectorizes them.
//!
//! One token's products are too small to be worth a thread or a matrix library: a call into one costs as much as the
//! product itself.

use std::array::from_fn;

/// Partial sums of a dot product. They do not depend on each other, so several vector additions are under way at once.
const LANES: usize = 16;

/// Weights `[rows, columns]` in row-major order.
pub(crate) struct Matrix {
    columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    pub(crate) fn new(columns: usize, values: Vec<f32>) -> Self {
        debug_assert_eq!(values.len() % columns, 0, "rows must be whole");
        Self { columns, values }
    }

    pub(crate) fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.columns..][..self.columns]
    }

    pub(crate) fn elements(&self) -> usize {
        self.values.len()
    }

    /// The product with each of the vectors in `inputs`, one behind the other in `outputs`. A row of weights is used
    /// for all inputs while it is in the nearest cache: a prompt is read faster than an answer is written.
    pub(crate) fn product(&self, inputs: &[f32], outputs: &mut Vec<f32>) {
        let rows = self.rows();
        outputs.clear();
        outputs.resize(inputs.len() / self.columns * rows, 0.0);
        for (index, row) in self.values.chunks_exact(self.columns).enumerate() {
            for (input, output) in inputs.chunks_exact(self.columns).zip(outputs.chunks_exact_mut(rows)) {
                output[index] = dot(row, input);
            }
        }
    }
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks(), b.as_chunks());
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let sums = partial_sums(a, b);
    let four: [f32; 4] = from_fn(|lane| sums[lane] + sums[lane + 4] + sums[lane + 8] + sums[lane + 12]);
    four.iter().sum::<f32>() + rest
}

/// Not inlined: seeing how the sums are used, the compiler arranges the loop to suit that, and at a third of the speed.
#[inline(never)]
fn partial_sums(a: &[[f32; LANES]], b: &[[f32; LANES]]) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums
}

/// Adds `scale` times `b` to `a`.
pub(crate) fn add_scaled(a: &mut [f32], scale: f32, b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += scale * b;
    }
}

/// Normalizes each vector of `hidden` by its root mean square. (Zhang and Sennrich, <https://arxiv.org/abs/1910.07467>)
pub(crate) fn rms_norm(hidden: &[f32], weights: &[f32], epsilon: f32, normed: &mut Vec<f32>) {
    normed.clear();
    for vector in hidden.chunks_exact(weights.len()) {
        let scale = (dot(vector, vector) / weights.len() as f32 + epsilon).sqrt().recip();
        normed.extend(vector.iter().zip(weights).map(|(value, weight)| value * scale * weight));
    }
}

/// Turns scores into probabilities.
pub(crate) fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - max).exp();
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// SwiGLU: each vector of `gate_up` holds the gates, then as many values.
/// (Shazeer, <https://arxiv.org/abs/2002.05202>)
pub(crate) fn swiglu(gate_up: &[f32], width: usize, out: &mut Vec<f32>) {
    out.clear();
    for vector in gate_up.chunks_exact(2 * width) {
        let (gate, values) = vector.split_at(width);
        out.extend(gate.iter().zip(values).map(|(gate, value)| gate / (1.0 + (-gate).exp()) * value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: &[f32], expect: &[f32]) {
        assert_eq!(actual.len(), expect.len());
        assert!(actual.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-5), "{actual:?} is not {expect:?}");
    }

    #[test]
    fn products_use_every_element() {
        let numbers: Vec<f32> = (1..=37).map(|i| i as f32).collect();
        close(&[dot(&numbers, &numbers)], &[17_575.0]);
        let matrix = Matrix::new(2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let mut outputs = vec![9.0];
        matrix.product(&[1.0, 0.0, 10.0, 1.0], &mut outputs);
        close(&outputs, &[1.0, 3.0, 5.0, 12.0, 34.0, 56.0]);
    }

    #[test]
    fn softmax_stands_large_scores() {
        let mut scores = [1000.0, 1000.0, f32::NEG_INFINITY];
        softmax(&mut scores);
        close(&scores, &[0.5, 0.5, 0.0]);
    }

    #[test]
    fn norms_and_gates() {
        let mut out = Vec::new();
        rms_norm(&[3.0, 4.0, 0.0, 0.0], &[1.0, 2.0], 0.0, &mut out);
        close(&out[..2], &[3.0 / 12.5_f32.sqrt(), 8.0 / 12.5_f32.sqrt()]);
        swiglu(&[0.0, 1.0, 5.0, 2.0], 2, &mut out);
        close(&out, &[0.0, 2.0 / (1.0 + (-1.0_f32).exp())]);
    }
}
