//! Programs of filters, with any filters and packets: a program passes every packet that its filter accepts, and no other if it
//! is exact; and the kernel accepts every program.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multicast::filter::Filter;
use multicast::filter::kernel::{Assembler, Instruction};

#[path = "../../tests/bpf/mod.rs"]
mod bpf;

use bpf::{Bytes, Tree, World, assert_sound};

#[derive(Arbitrary, Debug)]
struct Input {
    is_ipv4: bool,
    room: u16,
    mtu: u16,
    filter: Vec<u8>,
    packets: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let world = if input.is_ipv4 { World::v4() } else { World::v6() };
    let mut tree = Tree::grow(&mut Bytes(&input.filter), &world, 5);
    // Mostly small, so that some tests do not fit.
    let room = 2 + usize::from(if input.room % 8 == 0 { input.room % 4095 } else { input.room % 80 });
    let mtu = usize::from(if input.mtu % 2 == 0 { input.mtu } else { input.mtu % 12 });
    let mut buffer = vec![Instruction::ZERO; room];
    let mut code = Assembler::new(&mut buffer, mtu, world.family);
    let fit = tree.compile(&mut code);
    let mut bytes = Bytes(&input.packets);
    for _ in 0..8 {
        assert_sound(&mut tree, &code, fit, &world.packet(&mut bytes));
    }
});
