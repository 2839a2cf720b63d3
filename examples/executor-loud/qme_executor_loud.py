"""An executor in one file: `loud WORDS` echoes the words in capitals."""

from qme.executor import Executor, ExecutorSettings, Result, Task, plain_words


class LoudExecutor(Executor[ExecutorSettings]):
    """Takes commands that begin with `loud`."""

    name = "loud"
    matchstring = r"^loud\b"

    async def execute(self, task: Task) -> Result:
        """Run echo, once, whatever dies meanwhile."""
        _, *words = plain_words(task.spec)
        done = await task.run(["echo", *(word.upper() for word in words)])
        return Result(done.returncode)
