//! Names of this crate's tensors in open_clip.

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::Tensor,
};

use super::Layout;
use crate::Clip;

/// One tensor of a [`Clip`].
#[derive(Clone, Debug)]
pub struct NamedParam {
    /// Name in open_clip's state dict, for example `visual.transformer.resblocks.0.attn.in_proj_weight`.
    pub name: String,
    /// Path in this crate, for example `image_encoder.Vit.blocks.0.attn.in_proj.weight`.
    pub path: String,
    /// Identity; gradients and optimiser state are found by it.
    pub id: ParamId,
    /// Shape here.
    pub shape: Vec<usize>,
    /// Relation to open_clip's tensor.
    pub layout: Layout,
    /// Whether it is a running statistic, which no optimiser touches.
    pub is_buffer: bool,
}

/// All tensors of a model, in the order in which a visitor sees them.
pub fn named_params(clip: &Clip) -> Vec<NamedParam> {
    let mut visitor = Names::default();
    clip.visit(&mut visitor);
    visitor.params
}

#[derive(Default)]
struct Names {
    path: Vec<String>,
    containers: Vec<String>,
    params: Vec<NamedParam>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_owned());
        self.containers.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let is_linear = self
            .containers
            .last()
            .is_some_and(|container| container == "Struct:Linear");
        let name = open_clip_name(&self.path);
        let layout = match name.as_str() {
            // Parameters and not layers in open_clip: multiplied from the right, as here.
            "visual.proj" | "text_projection" => Layout::Same,
            "visual.conv1.weight" if is_linear => Layout::Patches,
            _ if is_linear && D == 2 => Layout::Transposed,
            _ => Layout::Same,
        };
        self.params.push(NamedParam {
            is_buffer: name.ends_with(".running_mean") || name.ends_with(".running_var"),
            name,
            path: self.path.join("."),
            id: param.id,
            shape: param.lazy_shape().to_vec(),
            layout,
        });
    }
}

/// Path of a tensor of a [`Clip`] to its name in open_clip.
fn open_clip_name(path: &[String]) -> String {
    // Below `image_encoder` and `text_encoder` comes the variant, which open_clip does not name.
    let (tower, inner) = match path.first().map(String::as_str) {
        Some("image_encoder") => (Some("visual"), &path[2..]),
        Some("text_encoder") => (None, &path[2..]),
        _ => (None, path),
    };
    let mut parts: Vec<&str> = tower.into_iter().collect();
    let mut inner = inner.iter().map(String::as_str).peekable();
    while let Some(part) = inner.next() {
        match part {
            "blocks" => parts.extend(["transformer", "resblocks"]),
            "gamma" => parts.push("weight"),
            "beta" => parts.push("bias"),
            "downsample" => parts.extend(["downsample", if inner.next() == Some("conv") { "0" } else { "1" }]),
            "in_proj" => match inner.next() {
                Some("weight") => parts.push("in_proj_weight"),
                _ => parts.push("in_proj_bias"),
            },
            "proj" | "text_projection" => {
                inner.next();
                parts.push(part);
            }
            _ => parts.push(part),
        }
    }
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use burn::tensor::Device;

    use super::*;
    use crate::ClipConfig;

    #[test]
    fn names_are_open_clips() {
        let names = |preset: &str| {
            let clip = ClipConfig::named(preset).unwrap().init(0, &Device::flex());
            let params = named_params(&clip);
            let names: HashSet<_> = params.iter().map(|param| param.name.clone()).collect();
            assert_eq!(names.len(), params.len());
            names
        };
        // Counts of open_clip's state dicts, `num_batches_tracked` left out.
        let vit = names("vit-b-32");
        assert_eq!(vit.len(), 302);
        let resnet = names("rn50");
        assert_eq!(resnet.len(), 324 + 110);
        for name in [
            "visual.conv1.weight",
            "visual.proj",
            "visual.class_embedding",
            "visual.ln_pre.weight",
            "visual.transformer.resblocks.11.attn.in_proj_bias",
            "visual.transformer.resblocks.0.mlp.c_fc.weight",
            "transformer.resblocks.11.attn.out_proj.weight",
            "token_embedding.weight",
            "ln_final.bias",
            "text_projection",
            "logit_scale",
        ] {
            assert!(vit.contains(name), "{name}");
        }
        for name in [
            "visual.bn3.running_var",
            "visual.layer1.0.downsample.0.weight",
            "visual.layer4.0.downsample.1.running_mean",
            "visual.attnpool.c_proj.bias",
        ] {
            assert!(resnet.contains(name), "{name}");
        }
    }
}
