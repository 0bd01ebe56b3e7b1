import { describe, expect, it } from 'vitest'
import { RollbackStack, rolledBackAck } from './rollback-stack.ts'

describe('a rollback stack', () => {
  it('undoes in reverse, each whatever the others do, and says what could not be undone', async () => {
    const undone: string[] = []
    const stack = new RollbackStack()
    const push = (action: string, compensate?: () => Promise<void>) => {
      stack.push({ domain: 'd', action, resultId: null, ...(compensate && { compensate }) })
    }
    push('first', async () => void undone.push('first'))
    push('row')
    push('broken', () => Promise.reject(new Error('no way back')))
    push('last', async () => void undone.push('last'))
    const operations = await stack.unwind()
    expect(operations.map(({ action, error }) => [action, error])).toEqual([
      ['last', null],
      ['broken', 'no way back'],
      ['row', null],
      ['first', null],
    ])
    expect(undone).toEqual(['last', 'first'])
    expect(await stack.unwind()).toEqual([])
  })

  it('leaves acks that say why, and that a compensation failed', () => {
    const operation = { domain: 'd', action: 'a', resultId: 'r', error: null }
    expect(rolledBackAck(operation, 'refused', 2)).toEqual({
      domain: 'd',
      action: 'a',
      attempt: 2,
      status: 'ROLLED_BACK',
      resultId: 'r',
      error: 'refused',
    })
    expect(rolledBackAck({ ...operation, error: 'no way back' }, 'refused', 1).error).toBe(
      'refused; its compensation failed: no way back',
    )
  })
})
