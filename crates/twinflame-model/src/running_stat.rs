//! A buffer of a module that is updated while the module computes.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use burn::{
    module::{
        Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
    },
    tensor::{Device, Tensor},
};

/// One running statistic, `[channels]`; saved, loaded and visited as a parameter without gradient.
///
/// Differs from burn's `RunningState` where training needs it to:
/// - a value is seen as soon as it is written, so a checkpoint or an evaluation after a step has that step in it;
/// - mapping a module gives the result its own buffer, so writing averaged weights into a clone leaves the original
///   alone;
/// - a mapping that only changes the type (a low-precision copy for computing) changes nothing here and keeps sharing
///   the buffer: statistics stay in f32, and what the copy's forward pass collects arrives in the original.
#[derive(Clone)]
pub struct RunningStat {
    id: ParamId,
    value: Arc<Mutex<Tensor<1>>>,
}

impl RunningStat {
    /// A new buffer that holds `value`.
    pub fn new(value: Tensor<1>) -> Self {
        Self::with_id(ParamId::new(), value)
    }

    fn with_id(id: ParamId, value: Tensor<1>) -> Self {
        Self {
            id,
            value: Arc::new(Mutex::new(value)),
        }
    }

    /// The current value, `[channels]`.
    pub fn value(&self) -> Tensor<1> {
        self.lock().clone()
    }

    /// Replaces the value, for all clones.
    pub fn set(&self, value: Tensor<1>) {
        *self.lock() = value;
    }

    fn lock(&self) -> MutexGuard<'_, Tensor<1>> {
        // A panic elsewhere cannot leave the tensor half written.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RunningStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunningStat({})", self.id)
    }
}

impl fmt::Display for RunningStat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl ModuleDisplayDefault for RunningStat {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&"RunningStat").optional()
    }
}

impl ModuleDisplay for RunningStat {}

impl Module for RunningStat {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_float(&Param::initialized(self.id, self.value()));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let before = self.value();
        let (id, after, _) = mapper.map_float(Param::initialized(self.id, before.clone())).consume();
        if after.dtype() != before.dtype() {
            return self;
        }
        Self::with_id(id, after.detach().set_require_grad(false))
    }

    fn to_device(self, device: &Device) -> Self {
        Self::with_id(self.id, self.value().to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, mut devices: Devices) -> Devices {
        let device = self.value().device();
        if !devices.contains(&device) {
            devices.push(device);
        }
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        Self::with_id(self.id, self.value().without_autodiff())
    }

    fn train(self) -> Self {
        Self::with_id(self.id, Tensor::from_inner(self.value().without_autodiff()))
    }
}
