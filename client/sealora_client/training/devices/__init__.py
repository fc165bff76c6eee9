"""A site's sums on several devices of one host, equal to the last bit to the sums of one.

Who does what. The site's own process is the first of the devices, and the only one that draws, pays and decides: the
sample, the choice of a person's records, the seeds of dropout's masks and the noise come from its generator exactly as
with one device; ledger, keys, data file and network are its own. Each further device has a worker process, which gets
the recipe, the adapter's weights and C, and the examples of its share of the sample: token ids, nothing else of a
record. It gives back sums of integers and the figures of clipping, and makes no noise; noise is added once, to the
whole sum. The drawn examples are sent, and not their numbers: a worker then holds what a step drew and no more, opens
no file of the site's, and cannot come to see other records than the process that was charged for them.

Why it is exact. A record's gradient is the same to the last bit whoever else is in its micro-batch (`fixed_shape`), and
a clipped sum is of integers (`clipped_sum`), which may be added in any order. Shares are whole groups of units, as one
process would form them, so every micro-batch has the shape and the rows that it would have there. Masks follow from a
seed of the group's own. Two things are asked for before any record is: that each device keeps examples apart
(`batch_invariance`), and that all of them compute the same bits (`device_bits`); a record's gradient would otherwise
depend on who computed it, and so on who else was drawn. Without clipping sums are of plain gradients, which rounding
makes depend on the order: groups are then added one by one, in the order in which one process adds them. Threads of the
CPU are shared out evenly, as many for each: the sums are those of one process with as many.

What fails. A worker that ends, fails or is silent for too long is ended, and its share computed by the site's own
process: the round goes on with the same bits, the same charge and the same answer, so nothing that travels can tell of
it, and the site's log says it in one sentence. It is started again in the background, a few times. Every wait is
bounded. A device that cannot be used at the start is told then, before the site joins.

What is opened. Two anonymous pipes a worker, which nobody else can name; no socket, no port, no file, no shared memory
with a name. A worker ends as its pipe does, and so with the site's process, however that ends. (A base model's template
is rendered in a process of its own, as in the site's process; that one ends with the worker.)

Why not torch.distributed. Its gloo (torch 2.13) makes every process listen on a TCP port, on the loopback interface at
best, for as long as it lives, and knows its peer by nothing but a small number that the first to connect sends: a
stranger's process that tried the numbers took a worker's place and was sent its sums (those are not noised yet). Other
accounts of the host, and other containers of a pod, reach that interface. NCCL starts over TCP as well. Sums are
exchanged once a step, so pipes cost little.

A site is one host: workers elsewhere would need a network, and a network what the seal has.
"""
