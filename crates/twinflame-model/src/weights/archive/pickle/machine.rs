//! The machine that reads pickles; it builds descriptions of values and calls nothing.
//!
//! It knows the instructions that PyTorch's picklers write (protocols 2 to 5,
//! <https://github.com/python/cpython/blob/main/Lib/pickletools.py>). The few calls in [`Machine::call`] that make
//! dictionaries and tensors are understood; every other gives an opaque object. Values are shared by number and texts
//! borrowed from the file, so that no instruction can copy what another made.

use std::collections::HashMap;

use super::{Global, Pickle, Value};
use crate::weights::archive::{
    ArchiveError,
    storage::{storage, tensor},
};

/// How a pickle of protocol 2 or later begins.
pub(in crate::weights::archive) const PROTO: u8 = 0x80;
/// Most instructions of a pickle. A checkpoint with optimiser has a hundredth of them.
pub(in crate::weights::archive) const MAX_VALUES: usize = 1 << 21;

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of `bytes`.
    pub(in crate::weights::archive) fn parse(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let mut machine = Machine {
            bytes,
            at: 0,
            pickle: Self {
                values: Vec::new(),
                root: 0,
                len: 0,
            },
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            charged: 0,
        };
        loop {
            let start = machine.at;
            match machine.step() {
                Ok(false) => {}
                Ok(true) => break,
                Err(message) => return Err(ArchiveError::Pickle { offset: start, message }),
            }
        }
        let Machine { mut pickle, at, .. } = machine;
        pickle.len = at;
        Ok(pickle)
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    pickle: Pickle<'a>,
    stack: Vec<u32>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, u32>,
    /// Instructions, and items that a single one handled.
    charged: usize,
}

type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    /// One instruction; true at the end of the pickle.
    fn step(&mut self) -> Step<bool> {
        self.charge(1)?;
        match self.take(1)?[0] {
            PROTO => drop(self.take(1)?),
            0x95 => drop(self.take(8)?), // FRAME: a hint for reading ahead
            b'.' => {
                self.pickle.root = self.pop()?;
                return Ok(true);
            }
            opcode => match self.constant(opcode)? {
                Some(value) => self.push(value)?,
                None => self.operate(opcode)?,
            },
        }
        Ok(false)
    }

    /// Instructions that push a value which they carry.
    fn constant(&mut self, opcode: u8) -> Step<Option<Value<'a>>> {
        Ok(Some(match opcode {
            b'N' => Value::Other,
            0x88 | 0x89 => Value::Bool(opcode == 0x88),
            b'K' => Value::Int(self.number(1)?),
            b'M' => Value::Int(self.number(2)?),
            b'J' => Value::Int(self.number(4)? as i32 as i64),
            b'G' => {
                self.take(8)?;
                Value::Other
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            // Python 2's strings: names are ASCII, anything else is of no interest.
            b'U' => self.old_text(1)?,
            b'T' => self.old_text(4)?,
            b'C' => Value::Bytes(self.counted(1)?),
            b'B' => Value::Bytes(self.counted(4)?),
            0x8e => Value::Bytes(self.counted(8)?),
            b'}' => Value::Dict(Vec::new()),
            b']' | 0x8f => Value::List(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            b'c' => Value::Global(Global {
                module: self.line()?,
                name: self.line()?,
            }),
            _ => return Ok(None),
        }))
    }

    /// Instructions that work on the stack.
    fn operate(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let (index, top) = (self.memo.len() as u32, self.top()?);
                self.memo.insert(index, top);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b't' | b'l' | 0x91 | b'd' => self.collect(opcode)?,
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                let first = first.filter(|first| *first >= self.floor()).ok_or(UNDERFLOW)?;
                let items = self.stack.split_off(first);
                self.push(Value::Tuple(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            0x93 => self.stack_global()?,
            b'Q' => {
                let id = self.pop()?;
                let storage = storage(&self.pickle, self.pickle.value(id))?;
                self.push(Value::Storage(Box::new(storage)))?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            0x92 => {
                let (_, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            b'b' => self.build()?,
            other => return Err(format!("instruction {other:#04x} is none that torch.save writes")),
        }
        Ok(())
    }

    /// A tuple, list, set or dictionary of what is above the mark.
    fn collect(&mut self, opcode: u8) -> Step<()> {
        let items = self.pop_to_mark()?;
        let value = match opcode {
            b't' => Value::Tuple(items),
            b'd' => Value::Dict(pairs(&items)?),
            _ => Value::List(items),
        };
        self.push(value)
    }

    fn append(&mut self, items: Vec<u32>) -> Step<()> {
        let list = self.top()?;
        match self.pickle.values.get_mut(list as usize) {
            Some(Value::List(list)) => list.extend(items),
            // A class of its own that can be appended to.
            Some(Value::Object { .. }) => {}
            _ => return Err("something that is no list is appended to".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[u32]) -> Step<()> {
        let dict = self.top()?;
        let items = pairs(items)?;
        match self.pickle.values.get_mut(dict as usize) {
            Some(Value::Dict(dict)) => dict.extend(items),
            Some(Value::Object { .. }) => {}
            _ => return Err("an item of something that is no dictionary is set".into()),
        }
        Ok(())
    }

    fn stack_global(&mut self) -> Step<()> {
        let [name, module] = [self.pop()?, self.pop()?].map(|id| self.pickle.value(id).clone());
        let (Value::Str(module), Value::Str(name)) = (module, name) else {
            return Err("a global has no name".into());
        };
        self.push(Value::Global(Global { module, name }))
    }

    /// Pushes what a call makes, as far as it is understood.
    fn call(&mut self, callable: u32, arguments: u32) -> Step<()> {
        let Value::Global(class) = *self.pickle.value(callable) else {
            return Err("something that is no global is called".into());
        };
        let Value::Tuple(arguments) = self.pickle.value(arguments) else {
            return Err(format!("`{class}` is called without arguments"));
        };
        let value = match (class.module, class.name) {
            ("collections", "OrderedDict") => {
                let items = arguments.first().copied();
                Value::Dict(
                    items
                        .map(|items| self.ordered_items(items))
                        .transpose()?
                        .unwrap_or_default(),
                )
            }
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => {
                Value::Tensor(Box::new(tensor(&self.pickle, arguments)?))
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.jit._pickle", "build_intlist" | "build_tensorlist") => {
                let first = *arguments
                    .first()
                    .ok_or_else(|| format!("`{class}` is called without arguments"))?;
                self.stack.push(first);
                return Ok(());
            }
            _ => Value::Object {
                class,
                attributes: None,
            },
        };
        self.push(value)
    }

    /// The argument of `OrderedDict([(key, value), ..])`, as Python 2 pickled it.
    fn ordered_items(&mut self, list: u32) -> Step<Vec<(u32, u32)>> {
        let (Value::List(items) | Value::Tuple(items)) = self.pickle.value(list) else {
            return Err("an OrderedDict is made of something that is no list".into());
        };
        let pair = |&item: &u32| match self.pickle.value(item) {
            Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err("an OrderedDict is made of something that is no list of pairs".to_owned()),
        };
        let pairs = items.iter().map(pair).collect::<Step<Vec<_>>>()?;
        self.charge(pairs.len())?;
        Ok(pairs)
    }

    /// Gives an object its attributes. Those of a dictionary (`_metadata` of a state dict) are of no interest.
    fn build(&mut self) -> Step<()> {
        let state = self.pop()?;
        let object = self.top()?;
        if let Some(Value::Object { attributes, .. }) = self.pickle.values.get_mut(object as usize) {
            *attributes = Some(state);
        }
        Ok(())
    }

    fn remember(&mut self, len: usize) -> Step<()> {
        let (index, top) = (self.number(len)? as u32, self.top()?);
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, len: usize) -> Step<()> {
        let index = self.number(len)? as u32;
        let value = *self
            .memo
            .get(&index)
            .ok_or_else(|| format!("value {index} was not remembered"))?;
        self.stack.push(value);
        Ok(())
    }

    fn charge(&mut self, number: usize) -> Step<()> {
        self.charged += number;
        match self.charged <= MAX_VALUES {
            true => Ok(()),
            false => Err(format!("it has more than {MAX_VALUES} instructions")),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Step<()> {
        let id = self.pickle.values.len() as u32;
        self.pickle.values.push(value);
        self.stack.push(id);
        Ok(())
    }

    /// Height below which the stack is closed by a mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<u32> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self) -> Step<u32> {
        let top = self.stack.last().filter(|_| self.stack.len() > self.floor());
        top.copied().ok_or_else(|| UNDERFLOW.to_owned())
    }

    fn pop_to_mark(&mut self) -> Step<Vec<u32>> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, len: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or("it is cut off")?;
        self.at += len;
        Ok(taken)
    }

    /// A little-endian number without sign of at most eight bytes.
    fn number(&mut self, len: usize) -> Step<i64> {
        let bytes = self.take(len)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | i64::from(byte)))
    }

    /// Bytes behind their number.
    fn counted(&mut self, len: usize) -> Step<&'a [u8]> {
        let len = usize::try_from(self.number(len)?).map_err(|_| "it is cut off")?;
        self.take(len)
    }

    fn text(&mut self, len: usize) -> Step<Value<'a>> {
        let text = std::str::from_utf8(self.counted(len)?);
        // Lone surrogates are possible in Python's texts, not in names.
        Ok(text.map_or(Value::Other, Value::Str))
    }

    fn old_text(&mut self, len: usize) -> Step<Value<'a>> {
        let bytes = self.counted(len)?;
        Ok(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Str))
    }

    /// An integer in two's complement, behind the number of its bytes.
    fn long(&mut self, len: usize) -> Step<Value<'a>> {
        let bytes = self.counted(len)?;
        if bytes.len() > 8 {
            return Ok(Value::Bytes(bytes));
        }
        let sign = match bytes.last() {
            Some(last) if *last >= 0x80 => -1,
            _ => 0,
        };
        let number = bytes
            .iter()
            .rev()
            .fold(sign, |number: i64, &byte| number << 8 | i64::from(byte));
        Ok(Value::Int(number))
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|&byte| byte == b'\n').ok_or("it is cut off")?;
        let line = self.take(len + 1)?;
        std::str::from_utf8(&line[..len]).map_err(|_| "the name of a global is no text".into())
    }
}

const UNDERFLOW: &str = "it takes more values than there are";

/// `key, value, key, value, ..`
fn pairs(items: &[u32]) -> Step<Vec<(u32, u32)>> {
    match items.len().is_multiple_of(2) {
        true => Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()),
        false => Err("a key has no value".into()),
    }
}
