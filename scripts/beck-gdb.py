# SPDX-License-Identifier: MIT
"""gdb commands for beck programs, running, stopped or dead (core files):

    beck tasks        every task: state, what it waits for and since when, where it was started
    beck bt ID        the stack of one task, suspended or not
    beck select ID    makes that stack the one that bt, up, frame and info locals show;
                      "beck select" alone, or letting the program run, goes back

Load it with "source beck-gdb.py" or "gdb -x beck-gdb.py PROGRAM".
"""
import gdb
from gdb.unwinder import Unwinder, register_unwinder

STATES = ["new", "ready", "running", "parked", "done"]
AWAY = {"ready", "parked"}

# What bki_switch leaves on the stack of a task that is away, upwards from its saved stack pointer;
# then the frame's size, and the names of stack pointer and program counter.
FRAMES = {
    "i386:x86-64": (["rip", "rbp"], 144, "rsp", "rip"),
    "aarch64": ([*(f"x{n}" for n in range(19, 30)), "pc"], 160, "sp", "pc"),
}


def each_in(head, type_name, member):
    """The objects of a bki_list, by the member that links them."""
    kind = gdb.lookup_type(type_name)
    offset = next(f.bitpos // 8 for f in kind.fields() if f.name == member)
    address, node = int(head.address), head["next"]
    while int(node) not in (0, address):
        yield gdb.Value(int(node) - offset).cast(kind.pointer()).dereference()
        node = node["next"]


def loops():
    """(gdb's thread, its loop) of each thread that runs one."""
    back = gdb.selected_thread()
    if back is None:
        raise gdb.GdbError("no program: start it, attach to it, or open its core file")
    found = []
    for thread in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num):
        thread.switch()
        try:
            loop = gdb.parse_and_eval("bki_loop")
            if int(loop["backend"]) != 0:
                found.append((thread, loop.dereference()))
        except gdb.error:
            continue
    back.switch()
    return found


def symbol(address):
    """'function' or 'function (file:line)' of a code address."""
    block = gdb.block_for_pc(int(address))
    while block is not None and block.function is None:
        block = block.superblock
    where = gdb.find_pc_line(int(address) - 1)
    name = block.function.name if block is not None else f"{int(address):#x}"
    if where.symtab is None:
        return name
    return f"{name} ({where.symtab.filename.rsplit('/', 1)[-1]}:{where.line})"


def task_name(task):
    if int(task["name"]) != 0:
        return task["name"].string()
    body = task["msg_fn"] if task["has_msg"] else task["fn"]
    return symbol(int(body)).split(" ")[0]


def describe(task, loop):
    state = STATES[int(task["state"])]
    if state != "parked" or int(task["wait_kind"]) == 0:
        return state
    since = int(loop["now_ns"]) - int(task["wait_since_ns"])
    return f"{task['wait_kind']['what'].string()} for {max(since, 0) / 1e9:.3f} s"


def find(text):
    try:
        wanted = int(text)
    except ValueError:
        raise gdb.GdbError("which task?  Give the number that \"beck tasks\" shows") from None
    for thread, loop in loops():
        for task in each_in(loop["tasks"], "struct bk_task", "all_link"):
            if int(task["id"]) == wanted:
                return thread, loop, task
    raise gdb.GdbError(f"no task {wanted}")


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class TaskUnwinder(Unwinder):
    """While a task is selected, the thread's innermost frame seems to be called from where that
    task called bki_switch."""

    def __init__(self):
        super().__init__("beck task")
        self.sp = None

    def select(self, task):
        self.sp = None
        gdb.invalidate_cached_frames()
        if task is None:
            return
        architecture = gdb.newest_frame().architecture().name()
        if architecture not in FRAMES:
            raise gdb.GdbError(f"the switch's frame on {architecture} is not known")
        self.registers, self.size, self.sp_name, self.pc_name = FRAMES[architecture]
        self.top = int(gdb.newest_frame().read_register(self.sp_name))
        self.sp = int(task["run"]["sp"])
        gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.sp is None or int(pending.read_register(self.sp_name)) != self.top:
            return None
        frame = FrameId(pending.read_register(self.sp_name), pending.read_register(self.pc_name))
        unwind = pending.create_unwind_info(frame)
        word = gdb.lookup_type("unsigned long")
        for i, name in enumerate(self.registers):
            slot = gdb.Value(self.sp + 8 * i).cast(word.pointer())
            unwind.add_saved_register(name, slot.dereference())
        unwind.add_saved_register(self.sp_name, gdb.Value(self.sp + self.size).cast(word))
        return unwind


class Beck(gdb.Command):
    """Commands for beck programs: beck tasks, beck bt ID, beck select [ID]."""

    def __init__(self):
        super().__init__("beck", gdb.COMMAND_STACK, prefix=True)


class Tasks(gdb.Command):
    """Lists every task of every loop."""

    def __init__(self):
        super().__init__("beck tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        unwinder.select(None)
        total = 0
        for thread, loop in loops():
            print(f"{'task':>6} {'parent':>6}  {'name':<20} {'waits for':<28} started at")
            for task in each_in(loop["tasks"], "struct bk_task", "all_link"):
                total += 1
                print(f"{int(task['id']):>6} {int(task['parent_id']):>6}  {task_name(task):<20} "
                      f"{describe(task, loop):<28} {symbol(task['spawn_site'])}")
        print(f"{total} tasks")


class Select(gdb.Command):
    """Shows the frames of one task: beck select ID; without ID, the thread's own again."""

    def __init__(self):
        super().__init__("beck select", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        unwinder.select(None)
        if argument.strip():
            thread, _, task = find(argument)
            thread.switch()
            if STATES[int(task["state"])] in AWAY:
                unwinder.select(task)


class Backtrace(gdb.Command):
    """Shows the stack of one task: beck bt ID."""

    def __init__(self):
        super().__init__("beck bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        unwinder.select(None)
        thread, loop, task = find(argument)
        back = gdb.selected_thread()
        thread.switch()
        print(f"task {int(task['id'])} {task_name(task)}: {describe(task, loop)}")
        try:
            state = STATES[int(task["state"])]
            if state in ("new", "done"):
                return
            away = state in AWAY
            unwinder.select(task if away else None)
            frames = gdb.execute("backtrace", to_string=True).rstrip("\n").split("\n")
            # The thread's own innermost frame is no part of the task.
            print("\n".join(frames[1:] if away else frames))
        finally:
            unwinder.select(None)
            back.switch()


unwinder = TaskUnwinder()
register_unwinder(None, unwinder, replace=True)
gdb.events.cont.connect(lambda event: unwinder.select(None))
Beck()
Tasks()
Select()
Backtrace()
