//! The writers of the access log: the one that lines go to, and those of earlier generations, which
//! still have lines to write or requests that will end with one.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::writer::Writer;
use crate::model::config::observe::LogDestination;

#[derive(Debug, Default)]
pub(super) struct Writers {
    current: RefCell<Option<Rc<Writer>>>,
    earlier: RefCell<Vec<Rc<Writer>>>,
}

impl Writers {
    /// The one that writes there already, or a new one.
    pub(super) fn find(
        &self,
        destination: &LogDestination,
        bound: usize,
    ) -> io::Result<Rc<Writer>> {
        if let Some(writer) = self.current.borrow().as_ref()
            && writer.destination == *destination
        {
            writer.set_bound(bound);
            return Ok(Rc::clone(writer));
        }
        Writer::open(destination, bound).map(Rc::new)
    }

    pub(super) fn serve(&self, writer: Option<Rc<Writer>>) {
        let before = self.current.replace(writer);
        let current = self.current.borrow();
        let goes_on = |one: &Rc<Writer>| current.as_ref().is_some_and(|now| Rc::ptr_eq(now, one));
        let gone = before.filter(|before| !goes_on(before));
        self.earlier.borrow_mut().extend(gone);
    }

    /// Has what has gathered written; how many lines were, and how many dropped, since the last time.
    pub(super) fn flush(&self) -> (u64, u64) {
        let mut earlier = self.earlier.borrow_mut();
        let current = self.current.borrow();
        let all = earlier.iter().chain(current.as_ref());
        let counts = all.fold((0, 0), |(written, dropped), writer| {
            writer.flush();
            let (more, gone) = writer.take_counts();
            (written + more, dropped + gone)
        });
        earlier.retain(|writer| Rc::strong_count(writer) > 1 || !writer.is_settled());
        counts
    }

    pub(super) fn reopen(&self) {
        if let Some(writer) = self.current.borrow().as_ref() {
            writer.reopen();
        }
    }

    /// Writes what is left, before the worker ends.
    pub(super) fn finish(&self) -> (u64, u64) {
        for writer in self.earlier.borrow().iter() {
            writer.finish();
        }
        if let Some(writer) = self.current.borrow().as_ref() {
            writer.finish();
        }
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_generation_that_is_replaced_are_written_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let to = |name: &str| LogDestination::File(at(name).to_str().unwrap().to_owned());
        let say = |writer: &Writer| writer.line(|buffer| buffer.extend_from_slice(b"line\n"));
        let writers = Writers::default();
        let one = writers.find(&to("one"), 1000).unwrap();
        writers.serve(Some(Rc::clone(&one)));
        assert!(Rc::ptr_eq(&one, &writers.find(&to("one"), 1000).unwrap()));
        say(&one);
        writers.serve(Some(writers.find(&to("two"), 1000).unwrap()));
        writers.flush();
        // A request of the first generation ends after that.
        say(&one);
        drop(one);
        writers.serve(None);
        assert_eq!(writers.earlier.borrow().len(), 2);
        writers.finish();
        assert_eq!(std::fs::read_to_string(at("one")).unwrap(), "line\nline\n");
        writers.flush();
        assert!(writers.earlier.borrow().is_empty(), "all is written");
    }
}
